"""Writes the chart's copy of the CRD: the source byte for byte, in a wrapper of Helm template lines.

python -m tests.support.chart_crd            write charts/slipway/templates/crd.yaml
python -m tests.support.chart_crd --check    exit code 1 if it is not what this would write
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "crds" / "slipway.dev_modeldeployments.yaml"
COPY = ROOT / "charts" / "slipway" / "templates" / "crd.yaml"

HEAD = """\
{{- /* Generated from crds/slipway.dev_modeldeployments.yaml by `python -m tests.support.chart_crd`; do not edit. */ -}}
{{- if .Values.crds.install }}
"""
# The line after which the annotations go; it must occur exactly once.
ANCHOR = "metadata:\n  name: modeldeployments.slipway.dev\n"
ANNOTATIONS = """\
  {{- if or .Values.crds.keep .Values.crds.annotations }}
  annotations:
    {{- if .Values.crds.keep }}
    helm.sh/resource-policy: keep
    {{- end }}
    {{- with .Values.crds.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
"""
TAIL = "{{- end }}\n"


def wrap(source: str) -> str:
    """The template for this CRD. Raises ValueError when the source cannot be wrapped without changing its meaning."""
    if "{{" in source:
        raise ValueError(f"{SOURCE.name} contains '{{{{', which Helm would evaluate; write it in another way")
    if source.count(ANCHOR) != 1:
        raise ValueError(f"{SOURCE.name} must contain {ANCHOR!r} once, found {source.count(ANCHOR)}")
    return HEAD + source.replace(ANCHOR, ANCHOR + ANNOTATIONS) + TAIL


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.chart_crd", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 if the copy is out of date")
    wanted = wrap(SOURCE.read_text(encoding="utf-8"))
    if parser.parse_args(arguments).check:
        if not COPY.exists() or COPY.read_text(encoding="utf-8") != wanted:
            print(f"{COPY.relative_to(ROOT)} is out of date: run python -m tests.support.chart_crd", file=sys.stderr)
            return 1
        return 0
    COPY.write_text(wanted, encoding="utf-8")
    print(f"{COPY.relative_to(ROOT)} written from {SOURCE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
