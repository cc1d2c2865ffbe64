"""Download published files: `python -m plantclef_assets.ingest published`, and `… download URL… --to FOLDER`.

Neither needs a lake. `PLANTCLEF_DOWNLOAD__…` variables or options limit connections and bytes per second.
"""

import argparse
import dataclasses
import re
import sys
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from plantclef_assets.engines.progress import BYTES, Progress
from plantclef_assets.ingest.download_lists import plan_downloads, read_addresses
from plantclef_assets.ingest.downloads import DownloadError, download_files
from plantclef_assets.redaction import without_secrets
from plantclef_assets.settings import load_download_settings, load_published_settings
from plantclef_assets.settings.errors import SettingsError

_DOWNLOAD = """Download files in chunks over several connections. Downloads are resumable and checksummed; a file
appears only when it is complete. The same command resumes an interrupted download and skips files that exist."""
_PUBLISHED = """Print the published files of the profile (PLANTCLEF_PROFILE): the setting, the approximate size, and the
address of each."""


def main(arguments: list[str] | None = None, prog: str = "python -m plantclef_assets.ingest") -> int:
    """Run one command line; return 1 if something failed, with one sentence per failure on stderr."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="download|published")
    _describe_download(commands.add_parser("download", help="download published files", description=_DOWNLOAD))
    shown = commands.add_parser("published", help="list the published files of the profile", description=_PUBLISHED)
    shown.set_defaults(run=_show_published)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (DownloadError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command resumes the download", file=sys.stderr)
        return 130


def _describe_download(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_download)
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help="http(s) address, optionally followed by #sha256=… or #md5=…; an address that ends with / stands for all "
        "files of that directory",
    )
    parser.add_argument("--list", type=Path, metavar="FILE", help="a text file with more addresses, one per line")
    parser.add_argument(
        "--match", default="*", metavar="PATTERN", help="pattern for the files of a directory, such as '*.tar'"
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="the folder for the files")
    parser.add_argument("--sha256", type=_digest, metavar="DIGITS", help="expected checksum of the one file")
    parser.add_argument("--connections", type=_count, metavar="N", help="concurrent requests of all files together")
    parser.add_argument("--rate", type=_size, metavar="20M", help="bytes per second of all connections together")
    parser.add_argument("--max-bytes", type=_size, metavar="300G", help="maximum size of all files together")


def _download(options: argparse.Namespace) -> int:
    options_set = {
        "connections": options.connections,
        "bytes_per_second": options.rate,
        "max_bytes": options.max_bytes,
    }
    changes = {name: value for name, value in options_set.items() if value is not None}
    limits = dataclasses.replace(load_download_settings(), **changes)
    addresses = [*options.urls, *(read_addresses(options.list) if options.list else ())]
    if not addresses:
        raise DownloadError("no address is given; add one, or use --list with a file of addresses")
    if options.sha256:
        if len(addresses) > 1:
            raise DownloadError("--sha256 is for one address; append #sha256=… to each of several")
        addresses = [f"{addresses[0].partition('#')[0]}#sha256={options.sha256}"]
    downloads = plan_downloads(addresses, options.to, options.match)
    label = downloads[0].target.name if len(downloads) == 1 else f"{len(downloads)} files"
    with Progress(label, 0, BYTES, _print_error) as progress:
        failed = download_files(downloads, limits=limits, progress=progress.reach, log=_print_error)
    for error in failed.values():
        print(error, file=sys.stderr)
    print(f"{len(downloads) - len(failed)} of {len(downloads)} files are in {options.to}")
    return 1 if failed else 0


def _show_published(options: argparse.Namespace) -> int:
    files = load_published_settings().files
    if not files:
        print("The profile has no published files; PLANTCLEF_PROFILE=plantclef2025 has some.", file=sys.stderr)
        return 1
    width = max(map(len, files))
    for name, file in files.items():
        print(f"{name:{width}}  {file.size.human_readable(decimal=True):>7}  {without_secrets(file.address)}")
    return 0


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a sha256, which has 64 hexadecimal digits")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 to 32")
    return int(text)


def _size(text: str) -> int:
    try:
        size = TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        size = 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 20M or 16MiB")
    return size
