"""A Postgres of the tests' own on loopback, which refuses to run as root and so runs as nobody."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plantclef_assets_tests.deployment.processes import Server, wait_for
from plantclef_assets_tests.engines.spark_cluster import free_port

DATABASE = "postgres"
_FOLDERS = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"))


def postgres_folder() -> Path | None:
    """Give the folder of Postgres's programs, None where it is not installed."""
    found = shutil.which("postgres")
    folders = [*_FOLDERS, *([Path(found).parent] if found else [])]
    return next((folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


class Postgres:
    """One database server over one folder."""

    def __init__(self, programs: Path, folder: Path, log: Path, account: int | None) -> None:
        self.programs, self.folder, self.account, self.port = programs, folder, account, free_port()
        self.variables = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        self._run("initdb", "--pgdata", folder / "data", "--username", "dagster", "--auth", "trust", "--no-sync")
        data = ["-D", folder / "data", "-k", folder, "-h", "127.0.0.1", "-p", str(self.port)]
        self.server = Server([programs / "postgres", *data], self.variables, log, account)
        self.wait()

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        groups = None if self.account is None else []
        given = {"user": self.account, "group": self.account, "extra_groups": groups}
        subprocess.run(command, check=True, capture_output=True, env=self.variables, cwd=self.folder, **given)

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--quiet"]
        return subprocess.run([self.programs / "pg_isready", *address], check=False).returncode == 0

    def wait(self) -> None:
        """Wait until it takes connections."""
        wait_for(self.is_ready, 30, "Postgres")

    def stop(self) -> None:
        """End it without waiting for its clients."""
        self.server.stop(signal.SIGINT)

    @property
    def storage(self) -> str:
        """The lines of dagster.yaml that lead there."""
        return (
            "\nstorage:\n  postgres:\n    postgres_db:\n"
            f"      scheme: postgresql+psycopg2\n      hostname: 127.0.0.1\n      port: {self.port}\n"
            "      username: dagster\n      password: unused\n"
            f"      db_name: {DATABASE}\n"
        )


@contextmanager
def running_postgres(log: Path) -> Iterator[Postgres]:
    """Run Postgres in a new folder of its own, which other accounts than ours have to reach."""
    programs = postgres_folder()
    assert programs is not None, "the caller has looked"
    account = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="plantclef-postgres-"))
    try:
        if account is not None:
            os.chown(folder, account, account)
        postgres = Postgres(programs, folder, log, account)
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)
