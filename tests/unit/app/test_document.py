"""Files as trees: layers, overrides, places, and what is refused before anything is read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.app.document import Items, Mapping, Override, Scalar, override, parse_document, place_of, read_document
from trimtab.types import TrimtabError


def text_at(root: Mapping, *path: str) -> str:
    node = root
    for step in path:
        node = node.items[int(step)] if isinstance(node, Items) else node.entries[step].value  # type: ignore[assignment]
    assert isinstance(node, Scalar)
    return node.text


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "book.yaml"


def test_values_stay_text():
    root = parse_document("universe: [NO, ON, 1_000, 2021-03-02, 'null', true]", "f")
    symbols = [text_at(root, "universe", str(i)) for i in range(6)]
    assert symbols == ["NO", "ON", "1_000", "2021-03-02", "null", "true"]


def test_layers_merge_mappings_and_replace_lists(tmp_path: Path):
    book = write(
        tmp_path,
        book="include: [one.yaml, two.yaml]\nlimits: {c: 30}\nlist: [9]\n",
        one="limits: {a: 1, b: 1, c: 1}\nlist: [1, 2]\nonly: one\n",
        two="limits: {b: 2, c: 2}\n",
    )
    root = read_document(book)
    assert [text_at(root, "limits", key) for key in "abc"] == ["1", "2", "30"]
    assert text_at(root, "only") == "one"
    items = root.entries["list"].value
    assert isinstance(items, Items)
    assert len(items.items) == 1
    assert "include" not in root.entries
    assert str(place_of(root, ("limits", "b"))) == f"{tmp_path / 'two.yaml'}:1"


def test_an_included_path_is_relative_to_its_file(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text("include: b.yaml\n")
    (tmp_path / "deep" / "b.yaml").write_text("name: found\n")
    book = write(tmp_path, book="include: deep/a.yaml\n")
    assert text_at(read_document(book), "name") == "found"


def test_a_cycle_is_named(tmp_path: Path):
    book = write(tmp_path, book="include: one.yaml\n", one="include: two.yaml\n", two="include: one.yaml\n")
    with pytest.raises(TrimtabError, match=r"circle: .*one\.yaml -> .*two\.yaml -> .*one\.yaml"):
        read_document(book)


def test_the_same_layer_twice_is_no_cycle(tmp_path: Path):
    book = write(
        tmp_path,
        book="include: [one.yaml, two.yaml]\n",
        one="include: base.yaml\n",
        two="include: base.yaml\n",
        base="a: 1\n",
    )
    assert text_at(read_document(book), "a") == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml: the file is empty"),
        ("- 1", "f.yaml:1: expected a mapping of settings"),
        ("a: [1", "f.yaml:1, column 6: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' is given twice, first on line 1"),
        ("a: {b: 1, b: 2}", "the key 'b' is given twice"),
        ("a: !!python/object:os.system x", "the tag"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("a: *nowhere", "undefined alias"),
        ("a: &a [*a]", "too many or too deeply nested"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x07", "not valid YAML"),
    ],
)
def test_refused(text: str, message: str):
    with pytest.raises(TrimtabError) as caught:
        parse_document(text, "f.yaml")
    assert message in str(caught.value)


def test_anchors_may_not_explode():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(TrimtabError, match="too many"):
        parse_document("\n".join(lines), "f")


def test_merge_keys():
    root = parse_document("base: &b {x: 1, y: 1}\nlimits:\n  <<: *b\n  y: 2\n", "f")
    assert (text_at(root, "limits", "x"), text_at(root, "limits", "y")) == ("1", "2")


def test_json_with_tabs():
    root = parse_document('{\n\t"a": "x\\ty",\n\t"b": 1\n}', "f.json", json=True)
    assert (text_at(root, "a"), text_at(root, "b")) == ("x\ty", "1")


@pytest.mark.parametrize(
    ("path", "text", "at", "value"),
    [
        ("a.b", "2", ("a", "b"), "2"),
        ("a.new.deep", "x", ("a", "new", "deep"), "x"),
        ("list.1", "9", ("list", "1"), "9"),
        ("blank.x", "9", ("blank", "x"), "9"),
        ("a", "{c: 3}", ("a", "c"), "3"),
    ],
)
def test_overrides(path: str, text: str, at: tuple[str, ...], value: str):
    root = parse_document("a: {b: 1}\nlist: [1, 2]\nblank:\n", "f")
    changed = override(root, Override(path, text))
    assert text_at(changed, *at) == value
    assert place_of(changed, at).source == f"--set {path}={text}"
    assert text_at(root, "a", "b") == "1"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("list.2", "list is a list of 2; expected an index from 0 to 1 after it, found '2'"),
        ("list.x", "expected an index from 0 to 1"),
        ("word.x", "word is the value 'w' and has no keys"),
        ("a..b", "expected a path of keys"),
    ],
)
def test_overrides_refused(path: str, message: str):
    root = parse_document("a: {b: 1}\nlist: [1, 2]\nword: w\n", "f")
    with pytest.raises(TrimtabError) as caught:
        override(root, Override(path, "1"))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--set {path}=1")


def test_files_that_cannot_be_read(tmp_path: Path):
    write(tmp_path, book="a: 1")
    with pytest.raises(TrimtabError, match=r"no such file; did you mean .*book\.yaml\?"):
        read_document(tmp_path / "bok.yaml")
    with pytest.raises(TrimtabError, match="this is a folder"):
        read_document(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(TrimtabError, match=r"UTF-8 \(byte 6\)"):
        read_document(tmp_path / "latin.yaml")
    (tmp_path / "inc.yaml").write_text("include: {a: 1}")
    with pytest.raises(TrimtabError, match="include: expected a path or a list of paths"):
        read_document(tmp_path / "inc.yaml")
