"""A secret in every setting that can hold one is in nothing that a run or a command leaves behind."""

import base64
import csv
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from dagster import DagsterInstance

from plantclef_assets.ingest.downloads import files
from plantclef_assets.ingest.downloads.limits import Retries
from plantclef_assets.models import separation
from plantclef_assets.orchestration.messages import explain_run
from plantclef_assets.settings import Settings, load_settings
from plantclef_assets.settings.errors import SettingsError
from plantclef_assets_tests.cli.commands import PYTHON, make_instance, run_command
from plantclef_assets_tests.secret_search import SECRET, USER, has_secret, places_of_the_secret
from plantclef_assets_tests.tiny import SPECIES, failed_checks, launches, materialize, tiny_settings, write_metadata

FILES = {
    "training_metadata": "metadata.csv",
    "training_images": "images.tar",
    "plot_images": "plots.tar",
    "plot_truth": "truth.csv",
    "class_mapping": "classes.txt",
    "species_names": "names.txt",
    "base_weights": "weights.safetensors",
    "finetuned_weights": "finetuned.safetensors",
}
"""The settings that can be an address, each with a file of the server."""
OTHERS = {"spark_config", "spark_remote", "published"}
"""Further settings that can hold a secret."""
PLACE = ("43.1234567", "3.7654321")
"""Where the photographs were taken."""
UNTRAINED = ("classifier", "better_than_majority")
"""The check that the checkpoint's random classifier does not pass."""
QUIET = {"telemetry": {"enabled": False}}
NO_ADDRESSES = {"base_model", "finetuned_model", "report_title", "tags"}
"""Names and texts, which settings take as they are: an address in place of a model fails by its name, and titles and
tags are made to be shown."""


@dataclass
class Guarded:
    """A server that requires user, password and token.

    Attributes:
        root: the address of its folder, without user and password.
        answer: a status for all requests with valid credentials, in place of the file.
        cut: whether only a part of each file is sent.
        token: the token that it requires.
    """

    root: str = ""
    answer: int | None = None
    cut: bool = False
    token: str = SECRET

    def address(self, name: str) -> str:
        """Return the address of a file with all that the server requires."""
        return f"{self.root.replace('://', f'://{USER}:{self.token}@')}{name}?token={self.token}&page=1"


@contextmanager
def guarded(folder: Path) -> Iterator[Guarded]:
    server = Guarded()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = base64.b64encode(f"{USER}:{server.token}".encode()).decode()
            token = parse_qs(urlsplit(self.path).query).get("token")
            if self.headers.get("Authorization") != f"Basic {wanted}" or token != [server.token]:
                self.send_error(401)
            elif server.answer:
                self.send_response(server.answer)
                self.send_header("Location", self.path.replace("?", "x?"))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif server.cut:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"a part")
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.root = f"http://127.0.0.1:{http.server_port}/"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture(scope="module")
def served(tiny_survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the tiny survey, photographs and plots in archives."""
    folder = tmp_path_factory.mktemp("served")
    for name in ("images", "plots"):
        with tarfile.open(folder / f"{name}.tar", "w") as archive:
            archive.add(tiny_survey / name, name)
    with (tiny_survey / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row | {"latitude": PLACE[0], "longitude": PLACE[1]} for row in csv.DictReader(stream, delimiter=";")]
    write_metadata(folder / "metadata.csv", rows)
    for name in ("truth.csv", "weights.safetensors"):
        (folder / name).write_bytes((tiny_survey / name).read_bytes())
    (folder / "classes.txt").write_text("".join(f"{one}\n" for one in SPECIES))
    (folder / "names.txt").write_text("species_id;species\n" + "".join(f"{one};Planta {one}\n" for one in SPECIES))
    write_weights_with_head(folder / "finetuned.safetensors")
    return folder


def write_weights_with_head(path: Path) -> None:
    """Write weights of the small vision transformer with a classifier of the tiny survey's species."""
    import torch
    from safetensors.torch import save_file

    from plantclef_assets.models import small_vit  # noqa: F401
    from plantclef_assets.models.timm_import import import_timm

    torch.manual_seed(1)
    model = import_timm().create_model("vit_mini_patch14_reg4_dinov2", num_classes=len(SPECIES))
    save_file(model.state_dict(), path)


@pytest.fixture
def server(served: Path) -> Iterator[Guarded]:
    with guarded(served) as server:
        yield server


@pytest.fixture
def ask(server: Guarded, tiny_survey: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings with the secret in every setting that can hold one."""

    def ask(**changes: object) -> Settings:
        values = {setting: server.address(name) for setting, name in FILES.items()}
        published = {name: {"address": server.address(file), "size": "1kB"} for name, file in FILES.items()}
        others = {
            "profile": str(tiny_survey / "finetuned.toml"),
            "cache": str(tmp_path / "cache"),
            "finetuned_model": "vit_mini_patch14_reg4_dinov2",
            "finetuned_input_size": 42,
            "spark_remote": f"sc://127.0.0.1:9/;token={SECRET}",
            "spark_config": {"spark.authenticate.secret": SECRET},
            "published": {name: published[name] for name in ("training_metadata", "training_images", "plot_images")},
        }
        return tiny_settings(tiny_survey, tmp_path / "lake", **(values | others | changes))

    return ask


def test_every_setting_that_can_hold_a_secret_is_planted() -> None:
    taking = set()
    for name, field in Settings.model_fields.items():
        if "str" not in str(field.annotation) or "Settings" in str(field.annotation):
            continue
        addresses = (f"https://user:{SECRET}@host/file.tar", f"sc://host:1/;token={SECRET}")
        for planted in [{"a": SECRET}] if "dict" in str(field.annotation) else addresses:
            try:
                load_settings(**{name: planted})
            except SettingsError as error:
                if "demo cannot be mixed" not in str(error) and "FINETUNED_MODEL" not in str(error):
                    continue
            taking.add(name)
    assert taking - NO_ADDRESSES == FILES.keys() | OTHERS - {"published"}


@pytest.mark.slow
def test_a_chain_leaves_no_secret_and_another_secret_makes_nothing_anew(
    ask: Callable[..., Settings],
    server: Guarded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(separation, "LEAST_ROWS_FOR_UMAP", 1000)  # UMAP takes longer than all the rest
    (tmp_path / "home").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "home"), QUIET) as instance:
        for selection, first, last in launches(ask()):
            result = materialize(ask(), selection, first=first, last=last, instance=instance)
            if UNTRAINED in failed_checks(result):  # it stops what follows in this run
                rest = "val_predictions,val_novelty"
                result = materialize(ask(), rest, first=first, last=last, instance=instance)
            assert result.success, explain_run(result.all_events)[0]
        lake = tmp_path / "lake"
        before = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
        assert {path.name for path in (tmp_path / "cache" / "downloads").rglob("*.*")} >= set(FILES.values())
        server.token = "another-password"
        for selection, first, last in launches(ask())[:4]:
            result = materialize(ask(), selection, first=first, last=last, instance=instance)
            assert result.success or UNTRAINED in failed_checks(result), explain_run(result.all_events)[0]
        assert before == {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
    printed = capfd.readouterr()
    assert not has_secret((printed.out + printed.err).encode())
    assert len(list((tmp_path / "home").rglob("*.db"))) > 1, "the databases of runs and events are searched"
    assert places_of_the_secret(tmp_path / "lake", tmp_path / "home", tmp_path / "cache") == []
    published = places_of_the_secret(lake, tmp_path / "home", secrets=PLACE)
    assert published == ["training_metadata.parquet (rows)"], "exact coordinates are in no file for people"
    assert {path.suffix for path in before} >= {".csv", ".json", ".parquet", ".safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["404", "500", "302", "401", "truncated", "no server", "no such host", "spark"])
def test_a_run_that_fails_leaves_no_secret(
    fault: str,
    ask: Callable[..., Settings],
    server: Guarded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(files, "Retries", partial(Retries, attempts=2, first_wait=0.01))
    (tmp_path / "home").mkdir()
    settings = ask(**({"engine": "spark"} if fault == "spark" else {}))
    server.answer = int(fault) if fault.isdigit() and fault != "401" else None
    server.cut = fault == "truncated"
    if fault == "401":
        server.token = "another-password"
    if fault in ("no server", "no such host"):
        server.root = {"no server": "http://127.0.0.1:9/", "no such host": "http://host.invalid/"}[fault]
        settings = ask()
    selection = "training_metadata,training_manifest,base_backbone,finetuned_backbone,plot_manifest,class_map"
    with DagsterInstance.local_temp(str(tmp_path / "home"), QUIET) as instance:
        result = materialize(settings, selection, instance=instance)
        assert result.success == (fault == "spark")
        if fault == "spark":  # its configuration is in the definitions, and its server does not answer
            assert not materialize(settings, "raw_images", first="00", instance=instance).success
    printed = capfd.readouterr()
    said = [printed.out, printed.err, *map(str, result.all_events)]
    assert [text for text in said if has_secret(text.encode())] == []
    assert places_of_the_secret(tmp_path / "home", tmp_path / "cache") == []
    assert not (tmp_path / "lake").exists() or places_of_the_secret(tmp_path / "lake") == []


@pytest.mark.slow
def test_commands_print_no_secret(server: Guarded, tiny_survey: Path, tmp_path: Path) -> None:
    home = make_instance(tmp_path / "home")
    addresses = {f"PLANTCLEF_{name.upper()}": server.address(file) for name, file in FILES.items()}
    variables = addresses | {
        "DAGSTER_HOME": str(home),
        "PLANTCLEF_LAKE": str(tmp_path / "lake"),
        "PLANTCLEF_CACHE": str(tmp_path / "cache"),
        "PLANTCLEF_PROFILE": str(tiny_survey / "finetuned.toml"),
        "PLANTCLEF_FINETUNED_MODEL": "vit_mini_patch14_reg4_dinov2",
        "PLANTCLEF_SPARK_REMOTE": f"sc://127.0.0.1:9/;token={SECRET}",
        "PLANTCLEF_SPARK_CONFIG": f'{{"spark.authenticate.secret": "{SECRET}"}}',
    }
    missing, present = server.address("missing.tar"), server.address("truth.csv")
    for arguments in (
        ["doctor"],
        ["plan"],
        ["run"],
        ["clean"],
        ["lake"],
        ["published"],
        ["download", missing, present, "--to", str(tmp_path / "to")],
        ["download", present.replace("127.0.0.1", "[127.0.0.1"), "--to", str(tmp_path / "to")],
    ):
        server.answer = 404 if arguments == ["run"] else None
        published = {"PLANTCLEF_PUBLISHED__TRAINING_IMAGES": f'{{"address": "{present}", "size": "1kB"}}'}
        program = "from plantclef_assets.cli.main import main; raise SystemExit(main())"
        printed = run_command([str(PYTHON), "-c", program, *arguments], variables | published)
        assert not has_secret((printed.stdout + printed.stderr).encode()), arguments
        if arguments[0] in ("doctor", "run", "published", "download"):
            assert "token=***" in printed.stdout + printed.stderr, arguments
    assert (tmp_path / "to" / "truth.csv").read_bytes() == (tiny_survey / "truth.csv").read_bytes()
    assert places_of_the_secret(home, tmp_path / "cache") == []
