"""Boot sectors and an ISO that boots, written byte by byte: no tool, no foreign code."""

from __future__ import annotations

import struct

_SECTOR = 2048


def _print_code(text: bytes, *, origin: int, after: bytes = b"") -> bytes:
    """16-bit code that sends `text` to COM1, runs `after`, and halts."""
    # xor bx,bx; mov ds,bx; mov si,text; loop: lodsb; or al,al; jz done; mov ah,al; wait: mov dx,3fd; in al,dx;
    # test al,20; jz wait; mov dx,3f8; mov al,ah; out dx,al; jmp loop; done:
    # cli first: SeaBIOS would print the rest of its own line, held back until the next timer interrupt, after the text.
    head = b"\xfa\x31\xdb\x8e\xdb\xbe"
    loop = b"\xac\x08\xc0\x74\x12\x88\xc4\xba\xfd\x03\xec\xa8\x20\x74\xf8\xba\xf8\x03\x88\xe0\xee\xeb\xe9"
    loop = loop[:4] + bytes([len(loop) - 5]) + loop[5:]
    end = after + b"\xf4\xeb\xfd"  # hlt; jmp back to it
    where = origin + len(head) + 2 + len(loop) + len(end)
    return head + struct.pack("<H", where) + loop + end + text + b"\0"


def boot_sector_that_writes(text: bytes) -> bytes:
    """A disk's first sector that prints `text` and copies itself to the second sector."""
    # es=0; ax=0301 (write one sector); cx=0002 (cylinder 0, sector 2); dh=0, dl=80; bx=7c00; int 13
    write = b"\x31\xc0\x8e\xc0\xb8\x01\x03\xb9\x02\x00\xba\x80\x00\xbb\x00\x7c\xcd\x13"
    code = _print_code(text, origin=0x7C00 + len(write))
    return (write + code).ljust(510, b"\0") + b"\x55\xaa"


def tiny_iso(text: bytes) -> bytes:
    """An ISO 9660 image whose El Torito boot image prints `text` (El Torito 1.0, no emulation)."""
    boot = _print_code(text, origin=0x7C00).ljust(_SECTOR, b"\0")
    primary = bytearray(_SECTOR)
    primary[:8] = b"\x01CD001\x01\0"
    primary[8:72] = b" " * 64
    primary[80:88] = struct.pack("<I", 21) + struct.pack(">I", 21)
    record = b"\x01CD001\x01EL TORITO SPECIFICATION".ljust(0x47, b"\0").replace(b"\x01CD001", b"\0CD001", 1)
    record = (record + struct.pack("<I", 19)).ljust(_SECTOR, b"\0")
    end = b"\xffCD001\x01".ljust(_SECTOR, b"\0")
    validation = bytearray(b"\x01\0\0\0" + b"\0" * 24 + b"\0\0\x55\xaa")
    total = sum(struct.unpack("<16H", bytes(validation)))
    validation[28:30] = struct.pack("<H", -total & 0xFFFF)
    initial = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 20).ljust(32, b"\0")
    catalog = (bytes(validation) + initial).ljust(_SECTOR, b"\0")
    return bytes(_SECTOR * 16) + bytes(primary) + record + end + catalog + boot
