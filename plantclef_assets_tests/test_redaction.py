"""Addresses lose their secrets, and nothing else."""

import sys
from pathlib import Path

import pytest

from plantclef_assets.errors import keep_traceback, print_error
from plantclef_assets.redaction import without_secrets, without_secrets_in

SECRET = "hunter2-c0ffee"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://user:{SECRET}@host/a.csv", "https://host/a.csv"),
        (f"https://{SECRET}@host:8443/a.csv#sha256=12ab", "https://host:8443/a.csv#sha256=12ab"),
        (f"HTTPS://user:{SECRET}@[::1]:80/a", "HTTPS://[::1]:80/a"),
        (f"https://user:{SECRET}/x@host/a.csv", "https://host/a.csv"),
        (f"https://user:{SECRET}?x@host/a.csv", "https://host/a.csv"),
        (f"https://user:{SECRET} x'@host/a.csv", "https://host/a.csv"),
        (f"http://user:{SECRET}@[::1/a.csv", "http://[::1/a.csv"),
        (f"https://host/a?token={SECRET}&sig={SECRET}", "https://host/a?token=***&sig=***"),
        (f"https://host/a?%74oken={SECRET}", "https://host/a?%74oken=***"),
        (
            f"https://host/a?X-Goog-Signature={SECRET}&X-Goog-Date=1",
            "https://host/a?X-Goog-Signature=***&X-Goog-Date=***",
        ),
        (f"https://host/a?sv=1&se=2&sig={SECRET}", "https://host/a?sv=***&se=***&sig=***"),
        (f"https://host/a;jsessionid={SECRET}/b", "https://host/a;jsessionid=***"),
        (f"https://host/a#access_token={SECRET}", "https://host/a#***"),
        (f"sc://host:15002/;use_ssl=true;token={SECRET}", "sc://host:15002/;use_ssl=true;token=***"),
        (f"k8s://https://user:{SECRET}@host:6443", "k8s://https://host:6443"),
        (f"gs://user:{SECRET}@bucket/a", "gs://bucket/a"),
        (f"spark://a:1,user:{SECRET}@b:2", "spark://b:2"),
    ],
)
def test_secrets_leave_an_address(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "location",
    [
        "https://lab.plantnet.org/LifeCLEF/a@2/file.tar#sha256=00ff",
        "https://host/a;v=1/file.csv#md5=12",
        "spark://a:7077,b:7077",
        "gs://bucket/a?b=c#d",
        "/home/user/a?token=b/c;d=e",
        "demo:images",
        "package:weights.safetensors",
        "hub",
        "k8s://https://host:6443",
        "",
    ],
)
def test_what_has_no_secret_is_unchanged(location: str) -> None:
    assert without_secrets(location) == location
    assert without_secrets_in(location) == location


def test_addresses_that_differ_in_more_than_secrets_stay_different() -> None:
    first, second = (f"https://host/get?file={name}&token=x" for name in ("a.csv", "b.csv"))
    assert without_secrets(first) != without_secrets(second)
    assert without_secrets(first) == without_secrets(first.replace("token=x", "token=y"))
    assert "a.csv" not in without_secrets(first)


def test_every_address_of_a_text_loses_its_secrets() -> None:
    text = f"'https://a:x {SECRET}@host/x', (https://host/y?key={SECRET}). See http://host:80 or a@b; done?"
    assert without_secrets_in(text) == "'https://host/x', (https://host/y?key=***). See http://host:80 or a@b; done?"


def test_what_is_printed_or_logged_of_an_error_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"https://user:{SECRET}@host/a.csv"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["plantclef", "download", address.replace("@", " x@")])
    print_error(f"no answer from {address}")
    assert keep_traceback(f"Traceback: ValueError: {address}") == f"Traceback: {tmp_path}/plantclef_errors.log"
    said = capsys.readouterr().err + (tmp_path / "plantclef_errors.log").read_text()
    assert said.count("https://host/a.csv") == 3
    assert SECRET not in said
