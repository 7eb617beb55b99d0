"""Texts for operators, cashiers and payers, in every installed language.

``agent/data/messages/<locale>.toml`` has the texts of one language; code refers to a text by its key. English
is the source: another file with other keys or other placeholders is refused when it is loaded. A new language
is one new file and no code.

A file is read when the first text of its language is needed, because most processes need few texts.

Where a command prints several languages, it leaves out those that the encoding of stdout cannot write.
"""

import string
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from agent.resources import data

SOURCE = "en"


class TextError(Exception):
    """A message file that cannot be used. The message names the file and the key."""


class Text:
    """One text by key, with the facts for its placeholders. Immutable; compares by key and facts.

    Args:
        key: the dotted path in the message files, e.g. ``fix.clean_lens``.
        facts: a value per placeholder. A ``Text`` is written in the language of the text around it.
    """

    __slots__ = ("facts", "key")

    def __init__(self, key: str, /, **facts: object) -> None:
        self.key = key
        self.facts: Mapping[str, object] = facts

    def write(self, locale: str) -> str:
        """The text in one installed language.

        Raises ``TextError``: the language is not installed, or no text has this key.
        """
        facts = self.facts.items()
        values = {name: fact.write(locale) if isinstance(fact, Text) else fact for name, fact in facts}
        return self.template(locale).format(**values)

    def template(self, locale: str) -> str:
        """The text in one installed language with its placeholders. Raises ``TextError`` like ``write``."""
        template = _messages(locale).get(self.key)
        if template is None:
            raise TextError(f"{locale}.toml: no text {self.key!r}")
        return template

    def __str__(self) -> str:
        return self.write(SOURCE)

    def __repr__(self) -> str:
        return f"Text({self.key!r}, {dict(self.facts)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and (self.key, self.facts) == (other.key, other.facts)

    def __hash__(self) -> int:
        return hash((self.key, tuple(sorted((name, str(value)) for name, value in self.facts.items()))))


def has_text(key: str) -> bool:
    """Whether the English file has a text with this key."""
    return key in _messages(SOURCE)


@cache
def locales() -> tuple[str, ...]:
    """The installed languages as BCP 47 tags, English first, the others by name."""
    names = sorted(path.stem for path in data("messages").glob("*.toml"))
    return (SOURCE, *(name for name in names if name != SOURCE))


def printed_locales() -> tuple[str, ...]:
    """``locales()`` without the languages that the encoding of stdout cannot write; English stays."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return tuple(locale for locale in locales() if locale == SOURCE or _can_write(encoding, locale))


@cache
def _can_write(encoding: str, locale: str) -> bool:
    """Whether the encoding has the letters of the language: those of its short labels."""
    try:
        "".join(text.write(locale) for text in texts_below("label").values()).encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def first_text(*keys: str) -> Text:
    """The text of the first key that the English file has; of the last key if it has none of them."""
    return Text(next(filter(has_text, keys), keys[-1]))


def best_locale(wanted: str | None) -> str:
    """The installed language for a BCP 47 tag: ``zh-Hans-CN`` is served by ``zh-CN``; English otherwise."""
    language = _language(wanted or SOURCE)
    return next((name for name in locales() if _language(name) == language), SOURCE)


def in_locale(kind: str, code: str, wanted: str | None) -> dict[str, str]:
    """``{locale: text}`` for a code of a closed list in the best installed language."""
    locale = best_locale(wanted)
    return {locale: Text(f"{kind}.{code}").write(locale)}


def texts_below(prefix: str) -> dict[str, Text]:
    """The texts directly below ``prefix.``, by the rest of their key."""
    start = prefix + "."
    return {key.removeprefix(start): Text(key) for key in _messages(SOURCE) if key.startswith(start)}


def json_fields(field: str, text: Text | str | None) -> dict[str, str]:
    """JSON fields, one per language: ``fix`` in English, ``fix_zh`` in Chinese; empty without a text.

    A ``str``, e.g. a message of a library, is the same in each field.
    """
    return {_field(field, locale): as_str(text or "", locale) for locale in locales()}


class _Received(Text):
    """A text that another process wrote, in its languages; English for a language that it does not have."""

    __slots__ = ()

    def write(self, locale: str) -> str:
        return str(self.facts.get(locale) or self.facts[SOURCE])


def text_of_fields(field: str, row: Mapping[str, object]) -> Text:
    """The text in the JSON fields of ``json_fields``, e.g. from an agent of another version."""
    return _Received(field, **{name: str(row.get(_field(field, name)) or "") for name in locales()})


def as_str(text: Text | str, locale: str) -> str:
    """A ``Text`` in one installed language, or the ``str`` itself."""
    return text.write(locale) if isinstance(text, Text) else text


def labelled_lines(text: Text, label: str) -> list[str]:
    """One line per language, each behind the label of that language, e.g. ``fix: …``."""
    return [f"{Text(f'label.{label}').write(locale)}: {text.write(locale)}" for locale in printed_locales()]


def json_field_names(field: str) -> list[str]:
    """The names of a field's JSON fields, see ``json_fields``."""
    return [_field(field, locale) for locale in locales()]


def lines_of_fields(field: str, row: Mapping[str, object]) -> list[str]:
    """``labelled_lines`` from the JSON fields of ``json_fields``; a language without a text is left out."""
    rows = ((locale, row.get(_field(field, locale))) for locale in printed_locales())
    return [f"{Text(f'label.{field}').write(locale)}: {text}" for locale, text in rows if text]


def translated_lines(text: Text | str, label: str) -> list[str]:
    """One labelled line per language other than English; none where the text is the English one."""
    english = as_str(text, SOURCE)
    others = ((locale, as_str(text, locale)) for locale in printed_locales()[1:])
    return [f"{Text(f'label.{label}').write(locale)}: {each}" for locale, each in others if each != english]


def on_one_line(text: Text) -> str:
    """The text in every language on one line; equal texts once."""
    return " ".join(dict.fromkeys(text.write(locale) for locale in printed_locales()))


def on_separate_lines(text: Text, languages: Sequence[str] | None = None) -> str:
    """The text in these languages, one line each; by default in the printed ones."""
    chosen = printed_locales() if languages is None else languages
    return "".join(f"{text.write(locale)}\n" for locale in chosen)


def load_messages() -> None:
    """Read the files of all languages now. Raises ``TextError``.

    Later the files can be those of a newer package, with other keys, or no file can be opened.
    """
    for locale in locales():
        _messages(locale)


@cache
def _messages(locale: str) -> dict[str, str]:
    if locale not in locales():
        raise TextError(f"{locale}.toml: this language is not installed")
    table = read_messages(data(f"messages/{locale}.toml"))
    if locale != SOURCE:
        check_messages(locale, table, _messages(SOURCE))
    return table


def read_messages(path: Path) -> dict[str, str]:
    """One message file, flat: dotted key to text.

    Raises ``TextError``: not TOML, or a value that is not a text.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: TOML syntax or UTF-8
        raise TextError(f"{path.name}: {error}") from error
    return dict(_flat(tree, "", path.name))


def check_messages(locale: str, table: Mapping[str, str], source: Mapping[str, str]) -> None:
    """Compare a translation with the English file.

    Raises ``TextError``: a key is missing or unknown, or its placeholders differ.
    """
    for key in sorted(source.keys() ^ table.keys()):
        problem = "not translated" if key in source else "not in the English file"
        raise TextError(f"{locale}.toml: {key}: {problem}")
    for key, text in table.items():
        if placeholders(text) != placeholders(source[key]):
            raise TextError(f"{locale}.toml: {key}: other placeholders than the English text")


def placeholders(text: str) -> set[str]:
    """The names in braces. Raises ``TextError`` where a brace is not closed."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError as error:
        raise TextError(f"{text!r}: {error}") from error


def _flat(tree: Mapping[str, object], prefix: str, name: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, str):
            yield prefix + key, value
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.", name)
        else:
            raise TextError(f"{name}: {prefix}{key}: not a text")


def _field(field: str, locale: str) -> str:
    return field if locale == SOURCE else f"{field}_{_language(locale)}"


def _language(tag: str) -> str:
    return tag.split("-", maxsplit=1)[0].lower()
