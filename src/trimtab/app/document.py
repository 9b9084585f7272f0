"""A settings file as a tree in which every key and value knows the line it stands on.

Values stay text until the reader knows what they should be, so `NO` may be a symbol, `1_000_000` a number and `5%` a
fraction, whatever YAML would have guessed. JSON is read by the same parser.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import yaml

from trimtab.app import presets
from trimtab.types import TrimtabError

MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 40
#: Of a value, so many characters are repeated in a message.
LONGEST_TOLD: Final = 80

_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_PLAIN: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "seq", "map")
)


class Place(NamedTuple):
    """Where something was written: a file and its line, or an option of the command line (line 0)."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Scalar(NamedTuple):
    """One value as text; null is True where nothing, `null` or `~` was written without quotes."""

    text: str
    null: bool
    quoted: bool
    place: Place


class Entry(NamedTuple):
    """A key's place and its value."""

    place: Place
    value: Node


class Mapping(NamedTuple):
    """Keys and values, in the order of the file."""

    entries: dict[str, Entry]
    place: Place


class Items(NamedTuple):
    """A list of values."""

    items: tuple[Node, ...]
    place: Place


Node = Scalar | Mapping | Items


class Override(NamedTuple):
    """`models.0.params.lookback` = `50`, as the command line's `option` said it."""

    path: str
    text: str
    option: str = "--set"


class Included(NamedTuple):
    """What `include:` named, where it said so, and the file that was taken; preset: its name where it ships with us."""

    name: str
    place: Place
    path: Path
    preset: str

    @property
    def shadows(self) -> bool:
        """A file of the user's that has the name of a preset and was taken in its place."""
        return not self.preset and presets.path_of(self.name) is not None


def read_document(path: Path) -> Mapping:
    """The settings in a file and in all that it includes: mappings merged, lists and values replaced.

    What `include:` names (one or a list) is layered in its order; the file itself comes last. A name is a file
    relative to the one that names it (`.yaml` may be left out), else a preset.

    TrimtabError: a file that cannot be read, a cycle, two presets, bad syntax, a duplicate key.
    """
    return read_layers(path)[0]


def read_layers(path: Path) -> tuple[Mapping, tuple[Included, ...]]:
    """The settings as `read_document` gives them, and everything that was included, in the order of the layers."""
    found: list[Included] = []
    root = _layered(path, (), found)
    _refuse_mixture(found)
    return root, tuple(found)


def parse_document(text: str, source: str, *, json: bool = False) -> Mapping:
    """The tree of one YAML or JSON text; source is the file name that faults show."""
    root = _compose(text, source, json=json)
    if root is None:
        raise TrimtabError(f"{source}: the file is empty; expected a mapping with at least `universe:` and `models:`")
    if not isinstance(root, Mapping):
        raise TrimtabError(
            f"{root.place}: expected a mapping of settings (`universe:`, `models:`, …), found {kind_of(root)}"
        )
    return root


def kind_of(node: Node) -> str:
    """What a value is, in words that fit into a message."""
    if isinstance(node, Mapping):
        return "a mapping" if node.entries else "an empty mapping"
    if isinstance(node, Items):
        return f"a list of {len(node.items)}"
    if node.null:
        return "nothing"
    text = node.text
    return repr(text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD].rstrip()} …")


def merge(below: Mapping, above: Mapping) -> Mapping:
    """Above laid over below: mappings are merged key by key, lists and values replaced."""
    entries = dict(below.entries)
    for key, entry in above.entries.items():
        old = entries.get(key)
        if old is not None and isinstance(old.value, Mapping) and isinstance(entry.value, Mapping):
            entry = Entry(entry.place, merge(old.value, entry.value))
        entries[key] = entry
    return Mapping(entries, above.place)


def override(root: Mapping, change: Override) -> Mapping:
    """The tree with one value replaced or added; its place is the option that said so."""
    place = Place(f"{change.option} {change.path}={change.text}" if change.option == "--set" else change.option)
    steps = change.path.split(".")
    if not all(steps):
        raise TrimtabError(
            f"{change.option} {change.path}={change.text}: expected a path of keys such as models.0.params.lookback"
        )
    value = _compose(change.text, str(place))
    if value is None:
        value = Scalar("", null=True, quoted=False, place=place)
    placed = _replaced(root, steps, _at(value, place), place, ())
    return cast(Mapping, placed)  # the root is a mapping, and so is what replaces it


def place_of(root: Mapping, path: Sequence[str]) -> Place:
    """Where the deepest part of path that exists was written: its key, or its item in a list."""
    node: Node = root
    place = root.place
    for step in path:
        if isinstance(node, Mapping) and step in node.entries:
            place, node = node.entries[step]
        elif isinstance(node, Items) and step.isdigit() and int(step) < len(node.items):
            node = node.items[int(step)]
            place = node.place
        else:
            break
    return place


def _layered(path: Path, chain: tuple[Path, ...], found: list[Included]) -> Mapping:
    real = path.resolve()
    if real in chain:
        names = " -> ".join(str(p) for p in (*chain[chain.index(real) :], real))
        raise TrimtabError(f"{path}: include goes round in a circle: {names}; take one of them out")
    preset = presets.name_of(path)
    source = f"preset {preset}" if preset else str(path)
    root = parse_document(_text_of(path), source, json=path.suffix.lower() == ".json")
    entry = root.entries.pop("include", None)
    if entry is None:
        return root
    below: Mapping | None = None
    for item in _includes(entry):
        target = _target(path.parent, item)
        layer = _layered(target, (*chain, real), found)
        found.append(Included(item.text, item.place, target, presets.name_of(target)))
        below = layer if below is None else merge(below, layer)
    return root if below is None else merge(below, root)


def _target(folder: Path, item: Scalar) -> Path:
    """The file that a name means: as it is written, with .yaml, else the preset of that name."""
    written = folder / Path(item.text).expanduser()
    for path in (written, written.with_name(f"{written.name}.yaml")):
        if path.is_file():
            return path
    preset = presets.path_of(item.text)
    if preset is not None:
        return preset
    near = _near(written) or _near_preset(item.text)
    raise TrimtabError(f"{item.place} include: no such file: {written}{near}")


def _near_preset(name: str) -> str:
    close = difflib.get_close_matches(name, presets.names(), n=1)
    if close:
        return f"; did you mean the preset {close[0]}?"
    return "" if Path(name).suffix else f", and no such preset; there are {', '.join(presets.names())}"


def _refuse_mixture(found: Sequence[Included]) -> None:
    """A preset's limits were chosen for each other: of two, some of each would be in force, and neither as meant."""
    named = {one.preset: one for one in reversed(found) if one.preset}
    if len(named) < 2:
        return
    last, first = list(named.values())[:2]
    raise TrimtabError(
        f"{last.place} include: {last.preset} on top of {first.preset} ({first.place}): presets are not mixed, since "
        "the limits of each were chosen for each other and of two you would have neither. Include one, and write what "
        "should differ under `limits:` and `caps:`"
    )


def _includes(entry: Entry) -> list[Scalar]:
    value = entry.value
    items = value.items if isinstance(value, Items) else (value,)
    scalars = [item for item in items if isinstance(item, Scalar) and item.text]
    if len(scalars) != len(items):
        raise TrimtabError(f"{entry.place} include: expected a path or a list of paths, found {kind_of(value)}")
    return scalars


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TrimtabError(f"{path}: no such file{_near(path)}") from None
    except IsADirectoryError:
        raise TrimtabError(f"{path}: this is a folder; expected a YAML or JSON file") from None
    except UnicodeDecodeError as error:
        raise TrimtabError(f"{path}: not text in UTF-8 (byte {error.start}); expected a YAML or JSON file") from None
    except OSError as error:
        raise TrimtabError(f"{path}: cannot be read: {error.strerror}") from None


def _near(path: Path) -> str:
    folder = path.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / close[0]}?" if close else ""


def _replaced(node: Node, steps: Sequence[str], value: Node, place: Place, done: tuple[str, ...]) -> Node:
    step, rest = steps[0], steps[1:]
    here = ".".join(done) or "the top"
    if isinstance(node, Items):
        if not step.isdigit() or int(step) >= len(node.items):
            last = len(node.items) - 1
            wanted = (
                ("an index from 0 to " if last > 0 else "the index ") + str(last)
                if last >= 0
                else "no more: it is empty"
            )
            raise TrimtabError(f"{place}: {here} is a list of {last + 1}; expected {wanted} after it, found {step!r}")
        old = node.items[int(step)]
        new = _replaced(old, rest, value, place, (*done, step)) if rest else value
        return Items((*node.items[: int(step)], new, *node.items[int(step) + 1 :]), node.place)
    if isinstance(node, Scalar) and not node.null:
        raise TrimtabError(f"{place}: {here} is the value {node.text!r} and has no keys; set {here} itself")
    entries = dict(node.entries) if isinstance(node, Mapping) else {}
    inner = entries[step].value if step in entries else Scalar("", null=True, quoted=False, place=place)
    entries[step] = Entry(place, _replaced(inner, rest, value, place, (*done, step)) if rest else value)
    return Mapping(entries, place if isinstance(node, Scalar) else node.place)


def _at(node: Node, place: Place) -> Node:
    """The same value, said at one place."""
    if isinstance(node, Scalar):
        return node._replace(place=place)
    if isinstance(node, Items):
        return Items(tuple(_at(item, place) for item in node.items), place)
    return Mapping({key: Entry(place, _at(entry.value, place)) for key, entry in node.entries.items()}, place)


def _compose(text: str, source: str, *, json: bool = False) -> Node | None:
    # YAML forbids tabs between tokens and JSON forbids them inside strings, so in JSON every tab is only space.
    text = text.replace("\t", " ") if json else text
    try:
        top = cast("Any", yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Place(source, mark.line + 1) if mark is not None and not source.startswith("--") else Place(source)
        column = f", column {mark.column + 1}" if mark is not None else ""
        kind = "JSON" if json else "YAML"
        raise TrimtabError(f"{where}{column}: not valid {kind}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise TrimtabError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise TrimtabError(f"{source}: nested too deeply; settings need no more than {MAX_DEPTH} levels") from None
    return None if top is None else _Reader(source).node(top, 0)


class _Reader:
    """Turns YAML's nodes into ours; the count and depth bound what anchors may expand to."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0

    def node(self, node: Any, depth: int) -> Node:
        self.count += 1
        place = self.place(node)
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            raise TrimtabError(f"{place}: too many or too deeply nested values (anchors that contain themselves?)")
        if node.tag not in _PLAIN:
            raise TrimtabError(f"{place}: the tag {node.tag!r} is not known here; write the plain value")
        if isinstance(node, yaml.ScalarNode):
            quoted = node.style is not None
            null = not quoted and node.tag == _NULL
            return Scalar("" if null else node.value, null, quoted, place)
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.node(item, depth + 1) for item in node.value), place)
        return self.mapping(node, place, depth)

    def mapping(self, node: Any, place: Place, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        below: dict[str, Entry] = {}
        for key, value in node.value:
            where = self.place(key)
            if not isinstance(key, yaml.ScalarNode):
                raise TrimtabError(f"{where}: a key must be a word, found a list or a mapping")
            if key.tag == _MERGE:
                below = self.merged(value, where, depth)
                continue
            if key.value in entries:
                first = entries[key.value].place
                raise TrimtabError(f"{where}: the key {key.value!r} is given twice, first on line {first.line}")
            entries[key.value] = Entry(where, self.node(value, depth + 1))
        return Mapping({**below, **entries}, place)

    def merged(self, value: Any, where: Place, depth: int) -> dict[str, Entry]:
        layers = value.value if isinstance(value, yaml.SequenceNode) else [value]
        entries: dict[str, Entry] = {}
        for layer in reversed(layers):
            node = self.node(layer, depth + 1)
            if not isinstance(node, Mapping):
                raise TrimtabError(f"{where}: `<<` merges mappings, found {kind_of(node)}")
            entries.update(node.entries)
        return entries

    def place(self, node: Any) -> Place:
        on_command_line = self.source.startswith("--")
        return Place(self.source, 0 if on_command_line else node.start_mark.line + 1)
