# SPDX-License-Identifier: Apache-2.0
"""Speaks the control protocol (proto/qp_chan.h) from Python, with the schema read from proto/parley.proto itself.

As much of protobuf as that file uses: varints, strings, messages, repeated ones. For measuring only: the peer, our own
mediator, is trusted.
"""

import re
import socket
import struct

SCALARS = {"uint32", "uint64", "int32", "bool", "string", "bytes"}


def load(path):
    """{message: {field number: (name, type, repeated)}}; nested messages by their last name."""
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"//[^\n]*", "", f.read())
    schema, stack = {}, []
    for token in re.finditer(r"(message|enum|oneof)\s+(\w+)\s*\{|"
                             r"(repeated\s+)?(\w+)\s+(\w+)\s*=\s*(\d+)\s*;|(\})", text):
        kind, name, repeated, ftype, fname, number, end = token.groups()
        if kind:
            stack.append((kind, name))
            if kind == "message":
                schema[name] = {}
        elif end:
            if stack:
                stack.pop()
        elif stack and stack[-1][0] != "enum":
            owner = [n for k, n in stack if k == "message"][-1]
            schema[owner][int(number)] = (fname, ftype, bool(repeated))
    return schema


def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(schema, message, values):
    numbers = {f[0]: (n, f[1]) for n, f in schema[message].items()}
    out = bytearray()
    for name, value in values.items():
        number, ftype = numbers[name]
        if isinstance(value, (int, bool)):
            out += varint(number << 3) + varint(int(value))
        else:
            data = value.encode() if isinstance(value, str) else encode(schema, ftype, value)
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def decode(schema, message, data):
    """A dictionary; fields that were not sent are 0, "" or []."""
    fields = schema[message]
    out = {}
    for name, ftype, repeated in fields.values():
        out[name] = [] if repeated else "" if ftype == "string" else None if ftype in schema else 0
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        name, ftype, repeated = fields.get(key >> 3, (None, None, False))
        if name is None:
            continue
        if ftype in schema:
            value = decode(schema, ftype, value)
        elif ftype == "string":
            value = value.decode()
        if repeated:
            out[name].append(value)
        else:
            out[name] = value
    return out


class Channel:
    def __init__(self, schema, path):
        self.schema = schema
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.last_id = 0
        self.send({"hello": {"major": 1, "program": "bench"}})

    def send(self, envelope):
        data = encode(self.schema, "Envelope", envelope)
        self.sock.sendall(struct.pack("<I", len(data)) + data)

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise ConnectionError("the mediator hung up")
            data += more
        return data

    def ask(self, body, reply):
        """Sends the request @body; the answer's field @reply."""
        self.last_id += 1
        self.send({"id": self.last_id, **body})
        while True:
            size, = struct.unpack("<I", self.read(4))
            envelope = decode(self.schema, "Envelope", self.read(size))
            if envelope["id"] != self.last_id or envelope["hello"]:
                continue
            if envelope["error"]:
                raise ConnectionError(envelope["error"]["text"])
            return envelope[reply]

    def close(self):
        self.sock.close()
