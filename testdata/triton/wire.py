"""Raw HTTP/1.1 over a socket: a request goes out as the bytes that the case gives, the answer comes back undigested."""

import base64
import socket


def encode(raw):
    """Bytes as {"text": ...} where they are UTF-8, else as {"base64": ...}."""
    try:
        return {"text": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


class Reader:
    def __init__(self, connection):
        self.connection, self.buffer, self.ended = connection, b"", False

    def more(self):
        data = b"" if self.ended else self.connection.recv(1 << 20)
        self.ended = self.ended or not data
        self.buffer += data
        return bool(data)

    def line(self):
        while b"\n" not in self.buffer:
            if not self.more():
                raise EOFError
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def take(self, n):
        while len(self.buffer) < n:
            if not self.more():
                break
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def rest(self):
        while self.more():
            pass
        return self.take(len(self.buffer))

    def chunks(self):
        body = b""
        while size := int(self.line().split(";")[0], 16):
            body += self.take(size)
            self.line()
        while self.line():
            pass
        return body

    def answer(self, bodiless):
        version, status, *reason = self.line().split(" ", 2)
        headers = []
        while line := self.line():
            name, _, value = line.partition(":")
            headers.append([name, value.strip()])
        fields = {k.lower(): v for k, v in headers}
        if bodiless or status.startswith("1") or status in ("204", "304"):
            body = b""
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body = self.chunks()
        elif "content-length" in fields:
            body = self.take(int(fields["content-length"]))
        else:
            body = self.rest()
        return {"version": version, "status": int(status), "reason": " ".join(reason),
                "headers": headers, "body": encode(body)}


def exchange(port, pieces, expect, bodiless=False, timeout=3.0):
    """Sends the pieces and reads `expect` answers; says what was left and whether the server closed."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    record, reader = {"answers": []}, Reader(connection)
    with connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while len(record["answers"]) < expect:
                record["answers"].append(reader.answer(bodiless))
        except (EOFError, ConnectionError):
            record["end"] = "closed"
            return record
        except (TimeoutError, socket.timeout):
            record["end"] = "silent"
            return record
        connection.settimeout(0.03)
        try:
            extra = reader.buffer or connection.recv(65536)
            record["end"] = "extra" if extra else "closed"
            if extra:
                record["extra"] = encode(extra)
        except (TimeoutError, socket.timeout):
            record["end"] = "open"
        except ConnectionError:
            record["end"] = "closed"
    return record
