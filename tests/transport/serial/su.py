"""A su and a sudo written for the tests: they ask, wait and refuse as the real ones do, and note what was typed.

What they give is root of a namespace of its own, which a shell cannot tell from root.
"""

from __future__ import annotations

import os
import sys
import termios
import time

SECRETS = {"su": "root-secret", "sudo": "user-secret"}


def ask(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    old = termios.tcgetattr(0)
    new = termios.tcgetattr(0)
    new[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSAFLUSH, new)
    line = os.read(0, 4096).decode("latin-1").strip("\n")
    termios.tcsetattr(0, termios.TCSAFLUSH, old)
    sys.stderr.write("\n")
    with open(os.environ["GETTY_HEARD"], "a") as heard:
        heard.write(f"{name}={line}\n")
    return line


def give_root() -> None:
    time.sleep(0.3)
    os.execvp("unshare", ["unshare", "-r", "sh", "-i"])


name = os.path.basename(sys.argv[0])
style = os.environ.get("BECOME_STYLE", "")
if name == "sudo" and sys.argv[1:] == ["-k"]:
    sys.exit(0)
time.sleep(0.5)
if style == "silent":
    time.sleep(1000)
if style == "free":
    give_root()
if style == "forbidden":
    sys.exit(f"joe is not in the {name}ers file.")
for attempt in range(3 if name == "sudo" else 1):
    prompt = sys.argv[2] if name == "sudo" else "Password: "
    if style == "torn" and attempt == 0:  # by what others print
        prompt = f"{prompt[:4]}~{prompt[4:]}"
    said = ask(prompt)
    if said == SECRETS[name]:
        with open(os.environ["GETTY_HEARD"]) as heard:
            times = sum(line == f"{name}={said}\n" for line in heard)
        if style == "never root" or (style == "not root at first" and times == 1):
            os.execvp("sh", ["sh", "-i"])
        give_root()
    time.sleep(1)
    if name == "sudo" and attempt < 2:
        print("Sorry, try again.", file=sys.stderr)
sys.exit("sudo: 3 incorrect password attempts" if name == "sudo" else "su: Authentication failure")
