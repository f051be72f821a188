"""In through a console's login, and out again: what was opened on the way is closed behind us."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.events.emitter import Emitter
from harness.transport.errors import Cause, TransportError, Unavailable
from harness.transport.serial.become import RootShell
from harness.transport.serial.console import Console
from harness.transport.serial.login import Credentials, Login
from harness.transport.serial.reader import Reader
from harness.transport.serial.requests import Nonce
from harness.transport.serial.session import Session
from harness.transport.serial.sieve import Sieved
from harness.transport.serial.spec import SerialSpec

_STAYS = re.compile(rb"(?:stopped|suspended|running) jobs")


@dataclass(frozen=True, slots=True)
class User:
    """Whose shell stands on the console."""

    uid: int
    name: str


class Access:
    """Sessions on one console: as the user that the spec names, or as root."""

    def __init__(self, console: Console, spec: SerialSpec, *, events: Emitter) -> None:
        self._console = console
        self._spec = spec
        self._events = events
        self._logged_in = False
        self._root: RootShell | None = None

    def enter(self, deadline: Deadline) -> Session:
        """A loaded session. Raises Unavailable (LOGIN, PASSWORD_EXPIRED, NO_SHELL, BECOME), Eof, Cancelled,
        DeadlineExpired; whoever was logged in for it is logged out then."""
        reader = Reader()
        heard = Sieved(reader)
        unsubscribe = self._console.subscribe(heard)
        try:
            return self._enter(heard, deadline)
        except (TransportError, DeadlineExpired):
            if self._console.is_open:
                self._log_out(reader)
            raise
        finally:
            unsubscribe()

    def leave(self, session: Session) -> None:
        """Ends the session's program, root's shell, and the login where it was ours. Quiet when nobody is there."""
        session.leave(Deadline.after(self._console.timing.window(2.0, heard=100)))
        if session.error is not None or not self._console.is_open:
            self._forget()
            return
        reader = Reader()
        unsubscribe = self._console.subscribe(Sieved(reader))
        try:
            self._log_out(reader)
        finally:
            unsubscribe()

    # -- in ----------------------------------------------------------------------------------------------------

    def _enter(self, heard: Sieved[Reader], deadline: Deadline) -> Session:
        self._forget()
        become, reader = self._spec.become, heard.listener
        user = self._get_shell(heard, deadline)
        if user is not None and not self._serves(user):
            self._events.emit(
                "serial.other_user",
                f"the shell on the console is that of {user.name}, not of {self._spec.user}; it is ended",
                level="warning",
                user=user.name,
            )
            self._logged_in = True
            self._log_out(reader)
            user = self._get_shell(heard, deadline)
            if user is not None and not self._serves(user):
                raise self._not_served(user)
        if become is None or (user is not None and user.uid == 0):
            return self._load(deadline)
        # Where others print without a pause, what sudo or su says may be torn, and its end be missed: then it is the
        # user's own shell that has answered, and is asked once more.
        for is_last in (False, True):
            root = RootShell(self._console, reader, become)
            root.start(deadline)
            self._root = root
            session = self._load(deadline)
            if session.guest is None or session.guest.uid <= 0:
                break
            session.leave(deadline)
            self._root = None
            if is_last:
                raise Unavailable(
                    f"{become.method} did not make the console's shell root (uid {session.guest.uid})",
                    cause=Cause.BECOME,
                    transport="serial",
                )
        return session

    def _get_shell(self, heard: Sieved[Reader], deadline: Deadline) -> User | None:
        """Gets a shell; whose it is, where it stood there already and says so."""
        login = Login(self._console, heard, Credentials(self._spec.user, self._spec.password), events=self._events)
        login.get_shell(deadline)
        self._logged_in = login.logged_in
        return None if self._logged_in else self._ask_user(heard.listener, deadline)

    def _serves(self, user: User) -> bool:
        """Whether that user's shell will do. On the way to root it may be root's already, or anybody's where the
        password is root's (su), or where no user of its own is named to begin with."""
        become, name = self._spec.become, self._spec.user
        if user.name == name or become is None:
            return user.name == name
        return user.uid == 0 or become.method == "su" or name == "root"

    def _ask_user(self, reader: Reader, deadline: Deadline) -> User | None:
        before, after = Nonce.fresh(), Nonce.fresh()
        answer = re.compile(rf"{before.whole}:(\d{{0,10}}):([^:\s]{{0,255}}):{after.whole}".encode())
        place = reader.total
        # Any login shell reads it alike. Where there is no `id`, the answer is empty.
        line = f""" sh -c 'echo {before.first}""{before.second}:`id -u`:`id -un`:{after.first}""{after.second}'\n"""
        self._console.write(line.encode(), deadline=deadline)
        reader.wait_until(answer, place, deadline, at_most=self._console.timing.window(5.0, heard=2 * len(line)))
        reader.settle(place, deadline, quiet=0.03, at_most=1.0)  # its prompt
        found = answer.search(reader.since(place))
        return User(int(found[1]), found[2].decode("utf-8", "replace")) if found and found[1] and found[2] else None

    def _load(self, deadline: Deadline) -> Session:
        # On a slow line saying a longer output twice costs more than a process in the guest.
        slow = self._console.address.startswith("/dev/tty")
        session = Session(
            self._console, events=self._events, inline=48 if slow else 256, answer_limit=self._spec.answer_limit
        )
        try:
            session.load(deadline)
            # Its answers are checked from here on, so that others' lines do no harm; and it may be asked for them.
            self._console.let_all_through()
        except BaseException:
            session.detach()
            raise
        return session

    def _not_served(self, user: User) -> Unavailable:
        return Unavailable(
            f"the console {self._console.name} gives a shell of {user.name} without asking for a name, and one of "
            f"{self._spec.user} is wanted",
            cause=Cause.LOGIN,
            transport="serial",
            hint=f"serial_user={user.name} takes that shell; ansible_become makes it root's",
        )

    # -- out ---------------------------------------------------------------------------------------------------

    def _log_out(self, reader: Reader) -> None:
        try:
            timing = self._console.timing
            deadline = Deadline.after(timing.window(5.0))
            if self._root is not None:
                self._root.leave(reader, deadline)
            if self._logged_in:
                place = reader.total
                self._console.write(b"exit\n", deadline=deadline)
                reader.settle(place, deadline, quiet=0.2, at_most=timing.window(1.0))
                if _STAYS.search(reader.since(place)):
                    self._console.write(b"exit\n", deadline=deadline)
        except (TransportError, DeadlineExpired) as error:
            self._events.emit("serial.logout_failed", str(error), level="warning")
        finally:
            self._forget()

    def _forget(self) -> None:
        self._logged_in, self._root = False, None
