"""What only the operator can know becomes a condition with reason, path and next step, and is looked at again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kube import Kube, Object
from tests.cluster.storage import provide_volume, volume_name
from tests.demo.journey import Journey, condition, rewrite_manifest
from tests.e2e.conftest import NAMESPACE, manifest


def stalled(kube: Kube, name: str, *, reason: str, timeout_s: float = 120.0) -> dict[str, Any]:
    """The condition Stalled, once it is True for this reason."""

    def holds(found: Object) -> bool:
        item = condition(found, "Stalled")
        return bool(item["status"] == "True" and item["reason"] == reason)

    found = kube.wait(f"mdep/{name}", f"stall for {reason}", holds, namespace=NAMESPACE, timeout_s=timeout_s)
    assert condition(found, "Reconciling")["status"] == "False"
    assert condition(found, "Ready")["status"] == "False"
    return condition(found, "Stalled")


def copy_artefact(journey: Journey, target: str) -> Path:
    directory = journey.volume / target
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(journey.volume / "fraud" / "1.0.0", directory)
    return directory


def test_a_claim_that_appears_later_is_found(journey: Journey, kube: Kube) -> None:
    kube.delete("mdep/early", NAMESPACE)
    kube.delete("pvc/later", NAMESPACE)
    kube.kubectl("delete", "pv", volume_name(NAMESPACE, "later"), "--ignore-not-found")  # it remembers the old claim
    kube.apply(manifest("early", uri="pvc://later/fraud/1.0.0"), namespace=NAMESPACE)
    message = stalled(kube, "early", reason="ClaimNotFound")["message"]
    assert message.startswith("spec.model.storageUri")
    assert "'later'" in message
    directory = provide_volume(NAMESPACE, "later")
    shutil.rmtree(directory / "fraud", ignore_errors=True)
    shutil.copytree(journey.volume / "fraud", directory / "fraud")
    journey.wait_ready("early", lambda reason, text: print(reason, text), timeout_s=120)
    kube.delete("mdep/early", NAMESPACE)


def test_an_unknown_profile_names_those_that_exist(kube: Kube) -> None:
    spec = manifest("profile")
    spec["spec"]["runtime"]["profile"] = "gpu-big"
    kube.apply(spec, namespace=NAMESPACE)
    assert "the admin offers: triton" in stalled(kube, "profile", reason="ProfileNotFound")["message"]
    kube.delete("mdep/profile", NAMESPACE)


def test_a_path_without_an_artefact_says_what_lies_beside_it(kube: Kube) -> None:
    kube.apply(manifest("lost", uri="pvc://models/fraud/9.9.9"), namespace=NAMESPACE)
    message = stalled(kube, "lost", reason="ArtifactNotFound")["message"]
    assert message.startswith("spec.model.storageUri")
    assert "1.0.0" in message
    kube.delete("mdep/lost", NAMESPACE)


def test_a_wrong_digest_is_never_served(kube: Kube) -> None:
    kube.apply(manifest("digest", model={"digest": "sha256:" + "0" * 64}), namespace=NAMESPACE)
    message = stalled(kube, "digest", reason="DigestMismatch")["message"]
    assert message.startswith("spec.model.digest")
    assert "0000" in message
    kube.delete("mdep/digest", NAMESPACE)


def test_a_flipped_byte_is_never_served(journey: Journey, kube: Kube) -> None:
    directory = copy_artefact(journey, "flipped")
    data = bytearray((directory / "model.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (directory / "model.pt").write_bytes(data)
    kube.apply(manifest("flipped", uri="pvc://models/flipped"), namespace=NAMESPACE)
    assert "model.pt" in stalled(kube, "flipped", reason="DigestMismatch")["message"]
    kube.delete("mdep/flipped", NAMESPACE)


def test_a_model_that_does_not_load_stalls_with_triton_s_own_reason(journey: Journey, kube: Kube) -> None:
    directory = copy_artefact(journey, "broken")
    (directory / "model.pt").write_bytes(b"this is no model")
    rewrite_manifest(directory, "model.pt")
    kube.apply(manifest("broken", uri="pvc://models/broken"), namespace=NAMESPACE)
    message = stalled(kube, "broken", reason="ModelLoadFailed")["message"]
    assert "Triton says" in message
    assert len(message) > 60
    found = kube.get("mdep/broken", NAMESPACE)
    assert found is not None
    about = [
        item for item in kube.list("events", NAMESPACE) if item["involvedObject"].get("uid") == found["metadata"]["uid"]
    ]
    assert [item["reason"] for item in about].count("ModelLoadFailed") == 1
    kube.delete("mdep/broken", NAMESPACE)


def test_a_stranger_s_service_is_left_untouched(kube: Kube) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "other"}},
    }
    kube.apply(foreign, namespace=NAMESPACE)
    kube.apply(manifest("taken"), namespace=NAMESPACE)
    assert "Service taken exists" in stalled(kube, "taken", reason="NameCollision")["message"]
    kube.delete("mdep/taken", NAMESPACE)
    left = kube.get("service/taken", NAMESPACE)
    assert left is not None
    assert left["spec"]["selector"] == {"app": "other"}
    kube.delete("service/taken", NAMESPACE)


def test_a_gpu_that_no_node_has_is_waited_for_in_the_scheduler_s_words(kube: Kube) -> None:
    spec = manifest("gpu")
    spec["spec"]["runtime"]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    kube.apply(spec, namespace=NAMESPACE)

    def waits(found: Object) -> bool:
        return bool(condition(found, "Ready")["reason"] == "WaitingForCapacity")

    found = kube.wait("mdep/gpu", "wait for capacity", waits, namespace=NAMESPACE, timeout_s=60)
    assert "Insufficient nvidia.com/gpu" in condition(found, "Reconciling")["message"]
    kube.delete("mdep/gpu", NAMESPACE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"storageUri": "pvc://models/../secrets"}}, "storageUri"),
        ({"replicas": 0}, "replicas"),
        ({"replica": 2}, "field not declared in schema"),
    ],
)
def test_what_the_schema_can_say_is_said_at_admission(kube: Kube, change: dict[str, Any], words: str) -> None:
    from tests.cluster.errors import ClusterError

    with pytest.raises(ClusterError) as refused:
        kube.apply(manifest("refused", **change), namespace=NAMESPACE)
    assert words in str(refused.value)


def test_the_name_that_clients_call_is_fixed(kube: Kube) -> None:
    from tests.cluster.errors import ClusterError

    kube.apply(manifest("fixed", modelName="one"), namespace=NAMESPACE)
    with pytest.raises(ClusterError, match="modelName"):
        kube.apply(manifest("fixed", modelName="other"), namespace=NAMESPACE)
    kube.delete("mdep/fixed", NAMESPACE)
