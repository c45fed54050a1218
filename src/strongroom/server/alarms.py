"""What the guard has seen, as lines of the log and of the audit log, and as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.server import audit, observe
    from strongroom.store import guarding


class Alarms:
    """Tells of displaced versions: of each in the metrics, and of foreign keys in the log."""

    def __init__(self, reporter: observe.Reporter, log: audit.Audit | None) -> None:
        self._reporter = reporter
        self._audit = log

    def __call__(self, alarm: guarding.Alarm) -> None:
        """Tell of one; called in the task of the write."""
        self._reporter.metrics.guarded(alarm.reason, foreign=alarm.is_foreign)
        if self._audit is not None:
            self._audit.alarmed(alarm)
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
