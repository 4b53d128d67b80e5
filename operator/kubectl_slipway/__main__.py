"""Entry points: `kubectl-slipway` and `kubectl_complete-slipway`. Maps what happened to an exit code.

0 done   1 failed or not found   2 wrong usage   130 Ctrl-C   143 terminated
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kubectl_slipway.arguments import parse


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    from kubectl_slipway.get import get
    from kubectl_slipway.kubectl import KubectlError

    try:
        code = get(options)
        sys.stdout.flush()
    except KubectlError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def complete() -> int:
    from kubectl_slipway.completion import answer

    sys.stdout.write(answer(sys.argv[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
