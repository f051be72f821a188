"""A getty and login written for the tests: each way in which a machine may let somebody in, or not."""

from __future__ import annotations

import os
import sys
import termios
import time


def read_line(prompt: str, *, echo: bool = True) -> str:
    line = ask(prompt, echo=echo)
    if "GETTY_HEARD" in os.environ:
        with open(os.environ["GETTY_HEARD"], "a") as heard:
            heard.write(f"{'name' if echo else 'password'}={line}\n")
    return line


def ask(prompt: str, *, echo: bool) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    old = termios.tcgetattr(0)
    new = termios.tcgetattr(0)
    if not echo:
        new[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSAFLUSH, new)
    line = os.read(0, 4096)
    termios.tcsetattr(0, termios.TCSADRAIN, old)
    if not echo:
        print()
    return line.decode("latin-1").strip("\r\n")


def main() -> None:
    style, shell = sys.argv[1], sys.argv[2:]
    first = not os.path.exists(os.environ.get("GETTY_HEARD", "/"))
    if style == "half" and first:  # somebody gave a name, or an expired password, and left
        read_line("Password: ", echo=False)
        time.sleep(1.5)
        print("\r\nLogin incorrect", flush=True)
    if style == "half-changed" and first:
        read_line("Current password: ", echo=False)
        sys.exit("\r\nAuthentication token manipulation error")
    if style == "silent":  # says nothing until a key is pressed
        os.read(0, 1)
    if style == "autologin":
        print("\r\nguest login: root (automatic login)\r\n\r\nLast login: Mon Nov 23 on ttyS0", flush=True)
        os.execvp(shell[0], shell)
    if style == "colour":
        sys.stdout.write("\x1b]0;guest\x07\x1b[1;32mWelcome\x1b[0m # to $ the > guest\r\r\n[  OK  ] Started x.\r\n")
    if style == "root locked":
        print("\r\nCannot open access to console, the root account is locked.", flush=True)
        print("See sulogin(8) man page for more details.\r\n\r\nPress Enter to continue.", flush=True)
        while True:
            os.read(0, 100)
    if style == "maintenance":  # sulogin(8), as systemd's emergency mode runs it
        print('\r\nYou are in emergency mode. After logging in, type "journalctl -xb" to view', flush=True)
        asks = "Give root password for maintenance\r\n(or press Control-D to continue): "
        while read_line(asks, echo=False) != os.environ.get("GETTY_PASSWORD", "secret"):
            print("\r\nLogin incorrect\r\n", flush=True)
        os.execvp(shell[0], shell)
    tries = 0
    while True:
        user = read_line("\r\nDebian GNU/Linux 12 guest ttyS0\r\n\r\nguest login: ")
        if not user:
            continue
        if style == "timeout" and tries == 0:
            tries += 1
            print("\r\nLogin timed out after 60 seconds.", flush=True)
            continue
        if style == "nopassword" and user == "root":
            break
        if style == "tardy":
            time.sleep(1)
        password = read_line("Password: ", echo=False)
        time.sleep(0.3)
        if style == "late timeout" and first:
            print("\r\nLogin timed out after 60 seconds.", flush=True)
            time.sleep(1)
            sys.exit(1)
        if style == "never in time, mute":
            sys.exit(1)
        if style == "never in time":
            sys.exit("\r\nLogin timed out after 60 seconds.")
        if style == "locked":
            print("\r\nYour account has expired; please contact your system administrator.\r\n", flush=True)
            sys.exit(1)
        if style == "booting" and tries < 1:
            tries += 1
            print('"System is booting up. Unprivileged users are not permitted to log in yet."', flush=True)
            continue
        if user not in ("root", "joe") or password != os.environ.get("GETTY_PASSWORD", "secret"):
            print("\r\nLogin incorrect", flush=True)
            continue
        if style == "expired":
            print("You are required to change your password immediately (administrator enforced).", flush=True)
            read_line("Current password: ", echo=False)
            sys.exit(1)
        break
    print("Linux guest 6.1.0 #1 SMP\r\n\r\nThe programs included with # the $ system are free\r\n", flush=True)
    termios.tcflush(0, termios.TCIFLUSH)
    if style == "slow":
        time.sleep(2.5)
    os.execvp(shell[0], shell)


main()
