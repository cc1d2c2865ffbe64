"""Scientific names: the name without its authorship, and the genus in it.

The names of PlantCLEF are `Bellis perennis L.`, `Salvia × sylvestris L.` or `Taraxacum sect. Taraxacum F.H.Wigg.`; all
7,806 of them are recognised. Names of another form are left alone.
"""

import re

_SIGN = "(?:× ?|x )?"
"""The sign of a hybrid."""
_SMALL, _CAPITAL = "[a-zà-öø-ÿ][a-zà-öø-ÿ-]+", "[A-ZÀ-ÖØ-Þ][a-zà-öø-ÿ-]+"
_NAME = re.compile(
    rf"({_SIGN}{_CAPITAL}) (?:{_SIGN}{_SMALL}|(?:subg|sect|subsect|ser)\. {_CAPITAL})(?= |$)",
)
_BELOW_SPECIES = re.compile(rf" ((?:subsp|ssp|nothosubsp|var|subvar|f)\. (?!(?:ex|et|in|bis|de|non) ){_SMALL})(?= |$)")
"""A rank and its epithet; `f.` is also the end of an author's name (Hook. f. ex Benth.)."""


def without_authorship(name: str) -> str:
    """Return a scientific name without its authors; a name of another form is returned unchanged."""
    found = _NAME.match(name)
    if found is None:
        return name
    return " ".join([found[0], *_BELOW_SPECIES.findall(name, found.end())])


def genus_in(name: str) -> str | None:
    """Return the genus that a scientific name begins with; None for a name of another form."""
    found = _NAME.match(name)
    return found[1] if found else None
