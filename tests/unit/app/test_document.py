"""Files as trees: layers, overrides, places, and what is refused before anything is read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.app.document import (
    Items,
    Mapping,
    Override,
    Scalar,
    override,
    parse_document,
    place_of,
    read_document,
    read_layers,
)
from trimtab.app.includes import warnings_of
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


# --- presets ----------------------------------------------------------------------------------------------------------


def test_a_preset_is_found_where_no_file_has_its_name(tmp_path: Path):
    root, included = read_layers(write(tmp_path, book="include: limits/pairs\nlimits: {stop_loss: 3%}\n"))
    limits = root.entries["limits"].value
    assert isinstance(limits, Mapping)
    assert {k: text_at(limits, k) for k in limits.entries} == {
        "daily_loss": "5%", "drawdown_halt": "10%", "gross_leverage": "2", "max_weight": "10%", "stop_loss": "3%"
    }  # fmt: skip
    assert [(one.preset, one.shadows) for one in included] == [("limits/pairs", False)]
    assert str(place_of(root, ("limits", "daily_loss"))).startswith("preset limits/pairs:")
    assert list(warnings_of(root, included)) == []


@pytest.mark.parametrize("file", ["pairs", "pairs.yaml"])
@pytest.mark.parametrize("name", ["limits/pairs", "limits/pairs.yaml"])
def test_a_file_of_that_name_comes_first_and_it_is_said(tmp_path: Path, name: str, file: str):
    book = write(tmp_path, book=f"include: {name}\n")
    (tmp_path / "limits").mkdir()
    (tmp_path / "limits" / file).write_text("limits: {max_weight: 3%}\n")
    root, included = read_layers(book)
    if (name, file) == ("limits/pairs.yaml", "pairs"):
        assert included[0].preset == "limits/pairs"
        return
    assert text_at(root, "limits", "max_weight") == "3%"
    (warning,) = warnings_of(root, included)
    assert warning == (
        f"{book}:1 include {name}: took the file {tmp_path / 'limits' / file}, not the preset of that name"
    )


def test_a_limit_that_replaces_a_presets_is_said_wherever_it_stands(tmp_path: Path):
    book = write(tmp_path, book="include: mine.yaml\n", mine="include: limits/lab\nlimits:\n  heat: 60%\n")
    root, included = read_layers(book)
    root = override(root, Override("caps.models.*", "20%"))
    assert list(warnings_of(root, included)) == [
        "--set caps.models.*=20% caps.models.*: replaces what limits/lab says",
        f"{tmp_path / 'mine.yaml'}:3 limits.heat: replaces what limits/lab says",
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"book": "include: [limits/pairs, limits/lab]\n"},
        {"book": "include: [one.yaml, limits/lab]\n", "one": "include: limits/pairs\n"},
        {"book": "include: [one.yaml, two.yaml]\n", "one": "include: limits/pairs\n", "two": "include: limits/lab\n"},
    ],
)
def test_two_presets_are_not_mixed(tmp_path: Path, files: dict[str, str]):
    with pytest.raises(TrimtabError, match=r"limits/lab on top of limits/pairs \(.*:1\): presets are not mixed, since"):
        read_document(write(tmp_path, **files))


def test_one_preset_twice_is_no_mixture(tmp_path: Path):
    book = write(tmp_path, book="include: [one.yaml, limits/lab]\n", one="include: limits/lab\n")
    assert text_at(read_document(book), "limits", "heat") == "50%"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("limits/pair", "did you mean the preset limits/pairs\\?"),
        ("no-such", "and no such preset; there are limits/lab, limits/multi_model, limits/pairs"),
        ("../document", "no such file"),
        ("limits/../../presets/limits/lab", "no such file"),
    ],
)
def test_what_is_neither_a_file_nor_a_preset_is_refused(tmp_path: Path, name: str, message: str):
    with pytest.raises(TrimtabError, match=message):
        read_document(write(tmp_path, book=f"include: {name}\n"))


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


def test_a_whole_text_is_not_repeated():
    with pytest.raises(TrimtabError) as caught:
        parse_document("words that go on and on " * 100, "novel.txt")
    assert str(caught.value).startswith("novel.txt:1: expected a mapping of settings")
    assert str(caught.value).endswith(" …'")
    assert len(str(caught.value)) < 200
