package com.openfaas.entrypoint;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** An HTTP answer, written as one piece of bytes. */
final class Message {
    private static final Map<Integer, String> REASONS = Map.of(
            200, "OK", 400, "Bad Request", 404, "Not Found", 405, "Method Not Allowed", 429, "Too Many Requests",
            500, "Internal Server Error", 503, "Service Unavailable", 504, "Gateway Timeout");
    static final String TEXT = "text/plain; charset=utf-8";

    final int status;
    final byte[] body;
    final Map<String, String> headers = new LinkedHashMap<>();

    Message(int status, byte[] body) {
        this.status = status;
        this.body = body;
    }

    Message(int status, String body) {
        this(status, body.getBytes(StandardCharsets.UTF_8));
    }

    /** Adds a header; throws IllegalArgumentException for one that would be more than a header. */
    Message with(String name, String value) {
        if ((name + value).chars().anyMatch(c -> c == '\r' || c == '\n') || name.isEmpty()) {
            throw new IllegalArgumentException("the header " + name + " has a line break in it");
        }
        headers.put(name, value);
        return this;
    }

    /** Status line, headers and body; `close`: the connection ends with it. */
    byte[] bytes(boolean withBody, boolean close) {
        StringBuilder head = new StringBuilder(256);
        head.append("HTTP/1.1 ").append(status).append(' ').append(REASONS.getOrDefault(status, "")).append("\r\n");
        headers.forEach((name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
        if (status >= 200 && status != 204 && status != 304) {
            head.append("Content-Length: ").append(body.length).append("\r\n");
        }
        head.append(close ? "Connection: close\r\n\r\n" : "\r\n");
        ByteArrayOutputStream message = new ByteArrayOutputStream(head.length() + body.length);
        message.writeBytes(head.toString().getBytes(StandardCharsets.UTF_8));
        if (withBody) {
            message.writeBytes(body);
        }
        return message.toByteArray();
    }
}
