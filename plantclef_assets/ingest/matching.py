"""Matching of metadata rows and photographs by image_name.

An image_name is a file name or a path: a suffix of the photograph's path, or a path with that suffix. Names without an
exact match are compared ignoring blanks, slashes and Unicode form, then ignoring letter case, then ignoring an
extension that image_name lacks. A name that fits several photographs matches none of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

LEAST_SHARE = 0.2
"""Minimum share of matched rows (of photographs, if they are fewer); below it, the two do not belong together."""

_TIDY = r"""nfc_normalize(regexp_replace(regexp_replace(replace({}, '\', '/'),
    '^[\s\x{{A0}}]+|[\s\x{{A0}}]+$', '', 'g'), '^(\.?/|[A-Za-z]:/)+', ''))"""
_FOLDED = f"lower({_TIDY})"
_EXACT = "letter by letter"
_LEVELS = (
    (_EXACT, "{}", "{}"),
    ("apart from blanks, slashes or Unicode form", _TIDY, _TIDY),
    ("apart from letter case", _FOLDED, _FOLDED),
    ("apart from the extension", _FOLDED, rf"regexp_replace({_FOLDED}, '\.[a-z0-9]+$', '')"),
)
_WITHOUT_FOLDERS = "apart from leading folders"

_FILE_NAMES = """
insert into work.matches
select files.rowid, image_name, $level, null from work.files files join training_metadata on image_name = file_name
"""
_ROWS = "select {key} as key, image_name from training_metadata anti join work.matches using (image_name)"
_FILES = """
select files.rowid as file, file_name, string_split({key}, '/') as parts
from work.files files anti join work.matches matches on matches.file = files.rowid
where refusal is null or {exact}
"""
# The photograph's path ends with the name; of several such names, the longest one matches.
_NAMED = """
insert into work.matches
with names as (select key, min(image_name) as image_name, max(image_name) as last_row from ({rows}) group by key),
     ends as (select file, file_name, parts, unnest(range(1, least(len(parts), {depth}) + 1)) as length from ({files})),
     found as (select file, file_name, arg_max(names, length) as names
               from ends join names on key = array_to_string(parts[-length:], '/') group by file, file_name),
     named as (select file, names.image_name, names.last_row, min(file_name) over photographs as first_file,
                      max(file_name) over photographs as last_file
               from found window photographs as (partition by names.image_name))
select file, if(other is null, image_name, null), $level, other
from (select *, case when image_name != last_row then 'the metadata have ' || image_name || ' and ' || last_row
                     when first_file != last_file then 'there are ' || first_file || ' and ' || last_file end as other
      from named)
"""
# The name ends with the photograph's path.
_LONGER = """
create or replace table work.longer as
select file, image_name, array_to_string(names.parts[:-length - 1], '/') as folder
from (select image_name, parts, unnest(range(1, len(parts))) as length
      from (select image_name, string_split(key, '/') as parts from ({rows}) where contains(key, '/'))) names
     join ({files}) files on array_to_string(files.parts, '/') = array_to_string(names.parts[-length:], '/')
qualify length = max(length) over (partition by image_name)
"""
_FOLDERS = """
select folder, count(distinct file) as photographs from work.longer
where exists (select file from work.longer group by file having count(*) > 1)
group by folder order by photographs desc, folder limit 2
"""
_NAMED_WITHOUT_FOLDERS = """
insert into work.matches
select file, if(own = 1, image_name, null), $level,
       if(own = 1, null,
          'the metadata have ' || first || if(first != last, ' and ' || last, ', a name of another folder'))
from (select file, count(*) filter ({own}) as own, min(image_name) filter ({own}) as image_name,
             min(image_name) as first, max(image_name) as last
      from work.longer group by file)
"""
_COUNTS = """
select (select count(*) from training_metadata), (select count(*) from work.files),
       (select count(*) from work.files where refusal is null),
       (select count(distinct image_name) from work.matches), (select count(*) from work.judged where reason is null)
"""
_COMMONEST_REASON = """
select reason, count(*) as photographs, min(source), arg_min(detail, source) from work.judged where reason is not null
group by reason order by photographs desc, reason limit 1
"""
_ALIKE = """
with names as (select {key} as key, min(image_name) as image_name, count(*) as rows from training_metadata
               anti join work.matches using (image_name) group by key),
     photographs as (select {file_key} as key, min(source) as source from work.files where refusal is null group by key)
select sum(rows), min(image_name), arg_min(source, image_name) from names join photographs using (key)
"""
_LAST_NAME = f"regexp_extract({_FOLDED}, '[^/]*$')"
_STEM = rf"regexp_replace({_LAST_NAME}, '\.[^.]*$', '')"
_UNLIKE = (
    ("the folders are not the same, or several photographs have one file name", _LAST_NAME),
    ("the extensions are not the same", _STEM),
)


class ManifestError(ValueError):
    """Metadata and photographs do not belong together."""


def match_photographs(catalog: "duckdb.DuckDBPyConnection") -> None:
    """Create the table `work.matches` of (file, image_name, level, other) from `work.files` and training_metadata.

    `file` is the rowid of a photograph and image_name the name of its row; if the match is ambiguous, image_name is
    null and `other` describes the alternatives.
    """
    catalog.execute("create table work.matches (file bigint, image_name varchar, level varchar, other varchar)")
    slashes = r"len(regexp_replace(image_name, '[^/\\]', '', 'g'))"
    depth = (_one(catalog, f"select max({slashes}) from training_metadata")[0] or 0) + 1
    for level, row_key, file_key in _LEVELS:
        rows = _ROWS.format(key=row_key.format("image_name"))
        files = _FILES.format(key=file_key.format("source"), exact=level == _EXACT)
        if not _one(catalog, f"select exists ({rows}) and exists ({files})")[0]:
            return
        if depth == 1 and level == _EXACT:
            catalog.execute(_FILE_NAMES, {"level": level})
            continue
        catalog.execute(_NAMED.format(rows=rows, files=files, depth=depth), {"level": level})
        if depth > 1:
            _match_longer(catalog, rows, files)


def _match_longer(catalog: "duckdb.DuckDBPyConnection", rows: str, files: str) -> None:
    catalog.execute(_LONGER.format(rows=rows, files=files))
    # If names with several leading folders fit one photograph, those with the most frequent folder are right.
    folders = catalog.sql(_FOLDERS).fetchall()
    own, parameters = "true", {"level": _WITHOUT_FOLDERS}
    if len(folders) == 2 and folders[0][1] == folders[1][1]:
        own = "false"
    elif folders:
        own, parameters["folder"] = "folder = $folder", folders[0][0]
    catalog.execute(_NAMED_WITHOUT_FOLDERS.format(own=own), parameters)


def matched_loosely(catalog: "duckdb.DuckDBPyConnection") -> dict[str, Any]:
    """Return the statistic `matched_loosely`: the number of rows without an exact match, by the kind of match."""
    counts = catalog.execute(
        "select level, count(distinct image_name) from work.matches where image_name is not null and level != $exact "
        "group by level order by level",
        {"exact": _EXACT},
    ).fetchall()
    return {"matched_loosely": dict(counts)} if counts else {}


def require_matches(catalog: "duckdb.DuckDBPyConnection", location: str) -> None:
    """Check that photographs and metadata belong together.

    Raises:
        ManifestError: no photograph is usable, or too few rows have one; the message names the most common reason.
    """
    rows, listed, photographs, matched, usable = _one(catalog, _COUNTS)
    if usable and matched >= LEAST_SHARE * min(rows, photographs):
        return
    if not photographs or matched >= LEAST_SHARE * min(rows, photographs):
        reason, count, source, detail = _one(catalog, _COMMONEST_REASON)
        raise ManifestError(
            f"none of the {listed:,} photographs in {location} can be used: {count:,} are quarantined as {reason}, "
            f"for example {source}: {detail}"
        )
    reason, image_name, source = _difference(catalog)
    raise ManifestError(
        f"only {matched:,} of {rows:,} rows of the metadata name one of the {photographs:,} photographs in {location}: "
        f"{reason}. The metadata have '{image_name}', and there is '{source}'. Correct image_name in the file of "
        "PLANTCLEF_TRAINING_METADATA, or set PLANTCLEF_TRAINING_IMAGES to the folder that these names begin in"
    )


def _difference(catalog: "duckdb.DuckDBPyConnection") -> tuple[str, str, str]:
    """Return why most rows have no photograph, with an example from the metadata and one from the photographs."""
    found = []
    for reason, key in _UNLIKE:
        query = _ALIKE.format(key=key.format("image_name"), file_key=key.format("source"))
        count, image_name, source = _one(catalog, query)
        found.append((count or 0, reason, image_name, source))
    count, reason, image_name, source = max(found, key=lambda one: one[0])
    if count:
        return reason, image_name, source
    image_name, source = _one(
        catalog,
        "select (select min(image_name) from training_metadata anti join work.matches using (image_name)), "
        "(select min(source) from work.files where refusal is null)",
    )
    return "the names are not alike", image_name, source


def _one(catalog: "duckdb.DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    return catalog.sql(query).fetchall()[0]
