"""What the guard has seen, as log lines and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.server import observe
    from strongroom.store import guarding


class Alarms:
    """Tells of displaced versions: of each in the metrics, and of foreign keys in the log."""

    def __init__(self, reporter: observe.Reporter) -> None:
        self._reporter = reporter

    def __call__(self, alarm: guarding.Alarm) -> None:
        """Tell of one; called in the task of the write."""
        self._reporter.metrics.guarded(alarm.reason, foreign=alarm.is_foreign)
        if not alarm.is_foreign:
            return
        version = alarm.version
        self._reporter.log.warning(
            "guard.foreign_key",
            bucket=version.bucket,
            key=version.key,
            version_id=version.version_id,
            was=version.fingerprint.hex(),
            by=alarm.by.hex(),
            kept_until_ms=alarm.until_ms,
        )
