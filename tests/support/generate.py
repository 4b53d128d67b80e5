"""Writes what is generated from a source in this repository: docs/reasons.md, and the chart's copy of the CRD.

python -m tests.support.generate           write
python -m tests.support.generate --check   exit 1 and name the files that are behind
"""

from __future__ import annotations

import sys
from pathlib import Path

from slipway.api.reasons import Kind, Reason
from tests.support import chart_crd

ROOT = Path(__file__).resolve().parents[2]
_TITLES = {Kind.STALL: "Stalled: somebody is needed", Kind.PROGRESS: "Reconciling: wait", Kind.WELL: "Well"}


def reasons_page() -> str:
    """docs/reasons.md from the enum that the operator writes into conditions."""
    lines = [
        "# Reasons",
        "",
        "Every `reason` that a condition or an Event of a ModelDeployment can carry. The list is closed and alerts may match on it.",
        "The message of the condition has the particulars: the pod, the path in your YAML, the words of the scheduler, the kubelet, Triton or Envoy.",
        "",
        "This page is generated from `operator/slipway/api/reasons.py` (`make generate`).",
    ]
    for kind, title in _TITLES.items():
        lines += ["", f"## {title}", "", "| reason | what it means | what to do |", "|---|---|---|"]
        lines += [f"| `{item.text}` | {item.meaning} | {item.next_step} |" for item in Reason if item.kind is kind]
    return "\n".join(lines) + "\n"


def generated() -> dict[Path, str]:
    """Path → the content that it should have."""
    return {
        ROOT / "docs" / "reasons.md": reasons_page(),
        chart_crd.COPY: chart_crd.wrap(chart_crd.SOURCE.read_text()),
    }


def main(arguments: list[str]) -> int:
    behind = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in behind:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is behind its source; run `make generate`")
        else:
            path.write_text(generated()[path])
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if behind and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
