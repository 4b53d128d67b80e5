"""fetch.py: what reaches Triton's repository, and what a person reads when nothing does."""

# mypy: disable-error-code="attr-defined, import-untyped"
from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from slipway_runtime import fetch as fetch_module
from slipway_runtime.failures import Failure, Reason
from slipway_runtime.fetch import fetch, run_fetch
from slipway_runtime.fetch_report import Progress, encode_report
from tests.unit.runtime.artefacts import GOLDEN, MODEL_BYTES, Bench, encode, manifest_document


def served_files(bench: Bench) -> set[str]:
    return {str(path.relative_to(bench.repository)) for path in bench.repository.rglob("*") if path.is_file()}


def test_a_good_artefact_becomes_a_triton_entry_and_a_report(bench: Bench) -> None:
    digest = bench.write_artefact()
    report = bench.fetch()
    seconds = report.pop("seconds")
    assert report == {"ok": True, "digest": digest, "bytes": len(MODEL_BYTES) + len(encode(GOLDEN)), "files": 2}
    assert 0 <= seconds < 60
    assert served_files(bench) == {
        "fraud/config.pbtxt",
        "fraud/3/model.pt",
        "fraud/3/model.py",
        "fraud/.slipway-fetch.json",
    }
    assert (bench.entry / "3" / "model.pt").read_bytes() == MODEL_BYTES
    config = text_format.Parse((bench.entry / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert config.name == "fraud"
    assert list(config.version_policy.specific.versions) == [3]


def test_the_entry_may_be_read_by_another_uid(bench: Bench) -> None:
    bench.fetch()
    for path in (bench.entry, *bench.entry.rglob("*")):
        needed = 0o005 if path.is_dir() else 0o004
        assert stat.S_IMODE(path.stat().st_mode) & needed == needed, path


def test_the_pytorch_backend_gets_the_model_and_no_python_host(bench: Bench) -> None:
    bench.write_serving(backends=["python", "pytorch"])
    assert bench.fetch()["ok"]
    assert "fraud/3/model.py" not in served_files(bench)


def test_code_in_the_artefact_never_reaches_triton(bench: Bench) -> None:
    bench.write_artefact({"model.py": b"raise SystemExit", "config.pbtxt": b"nonsense", "3/model.py": b"x"})
    assert bench.fetch()["ok"]
    assert b"TritonPythonModel" in (bench.entry / "3" / "model.py").read_bytes()
    assert 'name: "fraud"' in (bench.entry / "config.pbtxt").read_text()


def test_files_that_the_manifest_does_not_list_are_left_behind(bench: Bench) -> None:
    (bench.artefact / "notes.txt").write_text("not listed")
    (bench.artefact / "link").symlink_to("/etc/passwd")
    report = bench.fetch()
    assert report["files"] == 2
    assert not any("notes" in name or "link" in name for name in served_files(bench))


def test_the_warm_up_takes_variable_dimensions_from_the_golden_sample(bench: Bench) -> None:
    bench.write_artefact(inputs=[{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, -1]}])
    bench.fetch()
    config = text_format.Parse((bench.entry / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert list(config.input[0].dims) == [-1]
    assert list(config.model_warmup[0].inputs["INPUT__0"].dims) == [4]


# What does not exist


def test_a_missing_path_names_the_missing_part_and_what_lies_beside_it(bench: Bench) -> None:
    (bench.volume / "fraud" / "1.3.0").mkdir()
    bench.write_serving(uri="pvc://models/fraud/1.5.0")
    report = bench.fetch_failure(bench.volume / "fraud" / "1.5.0")
    assert report["reason"] == "ArtifactNotFound"
    assert report["path"] == "spec.model.storageUri"
    assert report["message"] == (
        'pvc://models/fraud/1.5.0: "1.5.0" does not exist in fraud, which holds: "1.3.0", "1.4.0".'
    )


def test_a_crowded_directory_is_listed_within_bounds(bench: Bench) -> None:
    for number in range(300):
        (bench.volume / "fraud" / f"version-{number:03}").mkdir()
    bench.write_serving(uri="pvc://models/fraud/none")
    report = bench.fetch_failure(bench.volume / "fraud" / "none")
    assert "and 291 others" in report["message"]
    assert len(report["message"]) < 500


def test_an_unmounted_volume_is_named(bench: Bench, tmp_path: Path) -> None:
    report = bench.fetch_failure(tmp_path / "nowhere" / "fraud" / "1.4.0")
    assert report["reason"] == "ArtifactNotFound"
    assert str(tmp_path / "nowhere") in report["message"]


def test_a_directory_without_a_manifest_is_no_artefact(bench: Bench) -> None:
    (bench.artefact / "slipway.json").unlink()
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactNotFound"
    assert (
        'has no slipway.json, so it is no artefact; the directory holds: "golden.json", "model.pt".'
        in report["message"]
    )
    assert "slipway-runtime package" in report["next"]


def test_a_listed_file_that_is_missing_is_an_unfinished_upload(bench: Bench) -> None:
    (bench.artefact / "model.pt").unlink()
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert '"model.pt" is listed in slipway.json but does not exist' in report["message"]
    assert "upload" in report["next"]


# What is not what it says


def test_a_flipped_byte_is_a_digest_mismatch_with_both_hashes(bench: Bench) -> None:
    data = bytearray(MODEL_BYTES)
    data[1000] ^= 1
    (bench.artefact / "model.pt").write_bytes(bytes(data))
    report = bench.fetch_failure()
    assert report["reason"] == "DigestMismatch"
    assert '"model.pt" has sha256 ' in report["message"]
    assert report["message"].count("expected") == 1


@pytest.mark.parametrize(("data", "found"), [(MODEL_BYTES[:-1], "2559"), (MODEL_BYTES + b"x", "more than 2560")])
def test_a_wrong_size_is_said_as_a_size(bench: Bench, data: bytes, found: str) -> None:
    (bench.artefact / "model.pt").write_bytes(data)
    report = bench.fetch_failure()
    assert report["reason"] == "DigestMismatch"
    assert f"is {found} bytes long, expected 2560" in report["message"]


def test_a_flipped_byte_in_a_file_that_is_not_served_counts_too(bench: Bench) -> None:
    (bench.artefact / "golden.json").write_bytes(encode(GOLDEN).replace(b"0.5", b"0.6"))
    assert bench.fetch_failure()["reason"] == "DigestMismatch"


def test_another_artefact_than_the_expected_one_is_refused(bench: Bench) -> None:
    expected = "sha256:" + "a" * 64
    bench.write_serving(digest=expected)
    found = bench.write_artefact()
    report = bench.fetch_failure()
    assert (report["reason"], report["path"]) == ("DigestMismatch", "spec.model.digest")
    assert found in report["message"]
    assert f"expected {expected}" in report["message"]


def test_the_expected_artefact_is_served(bench: Bench) -> None:
    bench.write_serving(digest=bench.write_artefact())
    assert bench.fetch()["ok"]


def test_other_bytes_than_at_the_first_fetch_are_drift(bench: Bench) -> None:
    frozen = bench.write_artefact()
    bench.freeze(frozen)
    found = bench.write_artefact({"model.pt": b"new weights under the old path"})
    report = bench.fetch_failure()
    assert (report["reason"], report["path"]) == ("DigestDrift", "spec.model.storageUri")
    assert found in report["message"]
    assert frozen in report["message"]


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_frozen_digest_is_not_frozen_yet(bench: Bench, text: str) -> None:
    bench.freeze(text)
    assert bench.fetch()["ok"]


# What must not be followed


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "a\0b", "", "./model.pt"])
def test_a_path_that_leaves_the_artefact_is_invalid(bench: Bench, path: str) -> None:
    document = manifest_document()
    document["files"].append({"path": path, "sha256": "0" * 64, "sizeBytes": 1})
    bench.write_manifest(document)
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert "files[2].path" in report["message"]


def _replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("name", ["model.pt", "golden.json", "slipway.json"])
def test_a_symlink_is_refused_even_when_its_target_is_right(bench: Bench, name: str) -> None:
    _replace_by_link(bench.artefact / name)
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert f'"{name}" is a symbolic link' in report["message"]


@pytest.mark.parametrize("part", ["fraud", "fraud/1.4.0"])
def test_a_symlink_in_the_way_is_refused(bench: Bench, part: str) -> None:
    _replace_by_link(bench.volume / part)
    assert bench.fetch_failure()["reason"] == "ArtifactInvalid"


def test_a_linked_subdirectory_is_refused(bench: Bench) -> None:
    bench.write_artefact({"parts/a.bin": b"a"})
    _replace_by_link(bench.artefact / "parts")
    assert bench.fetch_failure()["reason"] == "ArtifactInvalid"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_special_files_are_refused_without_waiting_for_them(bench: Bench, make: Callable[[Path], object]) -> None:
    (bench.artefact / "model.pt").unlink()
    make(bench.artefact / "model.pt")
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert "expected a regular file" in report["message"]


def test_a_huge_file_list_is_refused(bench: Bench) -> None:
    entry = {"sha256": "0" * 64, "sizeBytes": 1}
    bench.write_manifest(manifest_document(files=[{"path": f"f{n}", **entry} for n in range(10_001)]))
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert "files is an array of 10001 items, expected an array of 1 to 10000 items" in report["message"]


def test_a_manifest_that_is_too_large_is_not_parsed(bench: Bench) -> None:
    (bench.artefact / "slipway.json").write_bytes(b" " * (9 << 20))
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert "expected at most 8388608 bytes" in report["message"]


def test_a_bad_golden_file_is_named_when_it_is_needed(bench: Bench) -> None:
    bench.write_artefact({"golden.json": b"[]"}, inputs=[{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, -1]}])
    report = bench.fetch_failure()
    assert report["reason"] == "ArtifactInvalid"
    assert "golden.json" in report["message"]


# What the profile or the settings forbid


def test_a_profile_without_a_backend_for_it_is_format_not_supported(bench: Bench) -> None:
    bench.write_serving(backends=["onnxruntime"])
    report = bench.fetch_failure()
    assert (report["reason"], report["path"]) == ("FormatNotSupported", "spec.runtime.profile")
    assert "onnxruntime" in report["message"]


def test_a_format_of_a_later_release_is_format_not_supported(bench: Bench) -> None:
    bench.write_artefact(format="onnx")
    assert bench.fetch_failure()["reason"] == "FormatNotSupported"


def test_a_larger_batch_than_the_artefact_allows_points_to_the_field(bench: Bench) -> None:
    bench.write_serving(maxBatchSize=65)
    report = bench.fetch_failure()
    assert (report["reason"], report["path"]) == ("ArtifactInvalid", "spec.model.config.maxBatchSize")
    assert "is 65, expected at most 64" in report["message"]


def test_settings_of_another_release_are_not_guessed(bench: Bench) -> None:
    bench.write_serving(newField=1)
    report = bench.fetch_failure()
    assert report["reason"] == "FetchFailed"
    assert "newField is an unknown field" in report["message"]
    assert "same release" in report["next"]


def test_a_source_that_is_not_the_uri_is_refused(bench: Bench) -> None:
    bench.write_serving(uri="pvc://models/other/1.4.0")
    assert "does not end with 'other/1.4.0'" in bench.fetch_failure()["message"]


# What the machine refuses


def test_an_unreadable_file_says_who_could_not_read_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if path == "model.pt":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    report = bench.fetch_failure()
    assert report["reason"] == "FetchFailed"
    assert f"may not be read by uid {os.getuid()}" in report["message"]
    assert "chmod" in report["next"]


def test_a_read_only_repository_is_a_failure_that_may_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise OSError(30, "Read-only file system", "/models/x")

    monkeypatch.setattr(fetch_module.tempfile, "mkdtemp", refuse)
    report = bench.fetch_failure()
    assert report["reason"] == "FetchFailed"
    assert "writing the model repository failed" in report["message"]
    assert "Read-only file system" in report["message"]


def test_a_full_disk_is_said_before_the_copy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 10, 1

    monkeypatch.setattr(fetch_module.os, "statvfs", lambda _: Full)
    report = bench.fetch_failure()
    assert report["reason"] == "FetchFailed"
    assert "needs 2560 bytes in the pod's repository volume, which has 10 free" in report["message"]


def test_a_volume_that_dies_while_copying_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Any, size: int) -> bytes:
        raise fetch_module.read_failure("pvc://models/fraud/1.4.0", self.path, OSError(5, "Input/output error"))

    monkeypatch.setattr(fetch_module._Reader, "read", die)
    report = bench.fetch_failure()
    assert report["reason"] == "FetchFailed"
    assert "Input/output error" in report["message"]


def test_a_bug_still_reports_a_cause(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(fetch_module, "choose_engine", broken)
    with pytest.raises(ZeroDivisionError):
        run_fetch(bench.request(), bench.report_file)
    report = json.loads(bench.report_file.read_text())
    assert report["reason"] == "FetchFailed"
    assert "ZeroDivisionError" in report["message"]


# What an earlier run left


def test_a_restart_keeps_a_verified_result(bench: Bench) -> None:
    first = bench.fetch()
    before = (bench.entry / "3" / "model.pt").stat()
    second = bench.fetch()
    after = (bench.entry / "3" / "model.pt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert {**second, "seconds": 0} == {**first, "seconds": 0}


def test_a_restart_with_a_frozen_digest_needs_no_volume(bench: Bench) -> None:
    bench.freeze(bench.fetch()["digest"])
    shutil.rmtree(bench.volume)
    assert bench.fetch()["ok"]


def test_without_a_frozen_digest_a_vanished_volume_is_an_error(bench: Bench) -> None:
    bench.fetch()
    shutil.rmtree(bench.volume)
    assert bench.fetch()["reason"] == "ArtifactNotFound"


def test_a_restart_replaces_a_result_with_a_flipped_byte(bench: Bench) -> None:
    bench.freeze(bench.fetch()["digest"])
    copied = bench.entry / "3" / "model.pt"
    copied.write_bytes(b"\0" + copied.read_bytes()[1:])
    assert bench.fetch()["ok"]
    assert copied.read_bytes() == MODEL_BYTES


def test_a_restart_replaces_a_result_of_other_settings(bench: Bench) -> None:
    bench.fetch()
    bench.write_serving(maxBatchSize=8)
    bench.fetch()
    assert "max_batch_size: 8" in (bench.entry / "config.pbtxt").read_text()


def test_a_restart_removes_what_was_left_half_done(bench: Bench) -> None:
    partial = bench.repository / ".slipway-fetch-abc"
    (partial / "3").mkdir(parents=True)
    (partial / "3" / "model.pt").write_bytes(b"half")
    bench.entry.mkdir()
    (bench.entry / "config.pbtxt").write_text("half")
    assert bench.fetch()["ok"]
    assert not partial.exists()
    assert (bench.entry / "3" / "model.pt").read_bytes() == MODEL_BYTES


def test_a_kill_in_mid_copy_then_a_restart_ends_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(fetch_module, "write_record", die)
        patched.setattr(fetch_module.shutil, "rmtree", lambda *_, **__: None)  # a killed process cleans nothing up
        with pytest.raises(Killed):
            fetch(bench.request())
    assert [path.name for path in bench.repository.iterdir() if not path.name.startswith(".slipway-fetch-")] == []
    assert bench.fetch()["ok"]
    assert {path.name for path in bench.repository.iterdir()} == {"fraud"}


# What is said


def test_a_long_copy_says_how_far_it_is() -> None:
    said: list[dict[str, Any]] = []
    now = [100.0]
    progress = Progress(1000, said.append, clock=lambda: now[0])
    progress.path = "model.pt"
    for second in (101.0, 106.0, 107.0, 112.0):
        now[0] = second
        progress.add(100)
    assert [(event["bytes"], event["of"], event["seconds"]) for event in said] == [(200, 1000, 6.0), (400, 1000, 12.0)]


def test_stdout_is_json_lines(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.fetch()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["fetched"]


def test_a_report_never_exceeds_what_kubelet_keeps() -> None:
    data = encode_report({"ok": False, "reason": "x", "message": "\u20ac" * 9000, "next": "n" * 9000})
    assert len(data) <= 4096
    assert json.loads(data)["ok"] is False


def test_a_foreign_name_cannot_break_the_report_line(bench: Bench) -> None:
    (bench.volume / "fraud" / 'evil"\n\x1b[31m').mkdir()
    bench.write_serving(uri="pvc://models/fraud/none")
    message = bench.fetch_failure(bench.volume / "fraud" / "none")["message"]
    assert message.isascii()
    assert message.isprintable()


def test_reasons_are_the_closed_set_of_the_contract() -> None:
    assert {str(reason) for reason in Reason} == {
        "ArtifactNotFound",
        "ArtifactInvalid",
        "DigestMismatch",
        "DigestDrift",
        "FormatNotSupported",
        "FetchFailed",
    }


def test_fetch_raises_failures_with_a_next_step(bench: Bench) -> None:
    bench.write_artefact(format="onnx")
    with pytest.raises(Failure) as caught:
        fetch(bench.request())
    assert caught.value.next_step.endswith(".")
