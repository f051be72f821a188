"""The record: structured events, one JSON line each, written before anything else uses them."""

from harness.events.emitter import Emitter, Level, NullEmitter
from harness.events.log import EventLog
from harness.events.record import Record

__all__ = ["Emitter", "EventLog", "Level", "NullEmitter", "Record"]
