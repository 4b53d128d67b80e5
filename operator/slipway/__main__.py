"""`slipway-operator`: reads the settings, says what is wrong with them, runs the process."""

from __future__ import annotations

import asyncio
import logging
import sys

from slipway import telemetry
from slipway.settings import Settings, SettingsError

log = logging.getLogger("slipway")


def main() -> int:
    """Exit status: 0 after a stop signal, 1 for anything else that ends the process, 2 for wrong settings."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        telemetry.configure_logging("INFO")
        log.critical("wrong settings", extra={"cause": str(error)})
        return 2
    telemetry.configure_logging(settings.log_level)
    from slipway.handlers.process import run  # the heavy imports, after the settings are known to be good

    try:
        asyncio.run(run(settings))
    except Exception:
        log.critical("the operator ends", exc_info=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
