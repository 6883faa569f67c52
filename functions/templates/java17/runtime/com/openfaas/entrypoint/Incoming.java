package com.openfaas.entrypoint;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** One HTTP/1 request as it was read from its connection. */
final class Incoming {
    /** A request that cannot be understood; its connection is closed after the answer. */
    static final class Malformed extends IOException {
        private static final long serialVersionUID = 1;

        Malformed(String reason) {
            super(reason);
        }
    }

    private static final int MAX_HEAD_BYTES = 256 << 10;
    private static final int MAX_BODY_BYTES = 256 << 20;

    final String method;
    final String path;
    final String query;
    final Map<String, String> headers;
    final byte[] body;
    /** Whether the client wants the connection to end with the answer. */
    final boolean close;

    private Incoming(String method, String target, Map<String, String> headers, byte[] body, boolean close) {
        int at = target.indexOf('?');
        this.method = method;
        this.path = at < 0 ? target : target.substring(0, at);
        this.query = at < 0 ? "" : target.substring(at + 1);
        this.headers = headers;
        this.body = body;
        this.close = close;
    }

    String header(String name) {
        return headers.getOrDefault(name, "");
    }

    /** The next request; null when the connection ends before it. `begun` is told when its first byte is there. */
    static Incoming read(BufferedInputStream in, OutputStream out, Runnable begun) throws IOException {
        in.mark(1);
        if (in.read() < 0) {
            return null;
        }
        in.reset();
        begun.run();
        int[] left = {MAX_HEAD_BYTES};
        String first = line(in, left);
        String[] words = first.split(" ", -1);
        if (words.length != 3 || !words[2].startsWith("HTTP/1.") || words[0].isEmpty() || words[1].isEmpty()) {
            throw new Malformed("this is no HTTP request");
        }
        Map<String, String> headers = headers(in, left);
        String connection = headers.getOrDefault("Connection", "").toLowerCase(Locale.ROOT);
        boolean close = words[2].equals("HTTP/1.0") || connection.contains("close");
        if (headers.getOrDefault("Expect", "").equalsIgnoreCase("100-continue")) {
            out.write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
        }
        return new Incoming(words[0], words[1], headers, body(in, headers, left), close);
    }

    private static Map<String, String> headers(InputStream in, int[] left) throws IOException {
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (String line = line(in, left); !line.isEmpty(); line = line(in, left)) {
            int colon = line.indexOf(':');
            if (colon < 1 || Character.isWhitespace(line.charAt(colon - 1))) {
                throw new Malformed("this is no header: " + line);
            }
            headers.putIfAbsent(line.substring(0, colon), line.substring(colon + 1).strip());
        }
        return headers;
    }

    private static byte[] body(InputStream in, Map<String, String> headers, int[] left) throws IOException {
        String encoding = headers.get("Transfer-Encoding");
        if (encoding != null) {
            if (!encoding.equalsIgnoreCase("chunked") || headers.containsKey("Content-Length")) {
                throw new Malformed("the body's length is not clear");
            }
            return chunks(in, left);
        }
        String length = headers.getOrDefault("Content-Length", "0");
        if (!length.matches("\\d{1,10}") || Long.parseLong(length) > MAX_BODY_BYTES) {
            throw new Malformed("Content-Length " + length + " is not possible");
        }
        return exactly(in, Integer.parseInt(length));
    }

    private static byte[] chunks(InputStream in, int[] left) throws IOException {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        while (true) {
            String line = line(in, left);
            left[0] += line.length() + 2; // chunks are no part of the head
            String size = line.split(";", 2)[0].strip();
            if (!size.matches("[0-9a-fA-F]{1,7}")) {
                throw new Malformed("this is no chunk's size: " + size);
            }
            int length = Integer.parseInt(size, 16);
            if (length == 0) {
                break;
            }
            if (body.size() + length > MAX_BODY_BYTES) {
                throw new Malformed("the body is too large");
            }
            body.writeBytes(exactly(in, length));
            if (!line(in, left).isEmpty()) {
                throw new Malformed("a chunk is longer than it says");
            }
            left[0] += 2;
        }
        headers(in, left); // trailers
        return body.toByteArray();
    }

    private static byte[] exactly(InputStream in, int length) throws IOException {
        byte[] bytes = in.readNBytes(length);
        if (bytes.length < length) {
            throw new EOFException("the body ended early");
        }
        return bytes;
    }

    private static String line(InputStream in, int[] left) throws IOException {
        StringBuilder line = new StringBuilder(64);
        for (int c = in.read(); c != '\n'; c = in.read()) {
            if (c < 0) {
                throw new EOFException("the head ended early");
            }
            if (--left[0] < 0) {
                throw new Malformed("the head is too large");
            }
            line.append((char) c);
        }
        left[0]--;
        int end = line.length();
        return end > 0 && line.charAt(end - 1) == '\r' ? line.substring(0, end - 1) : line.toString();
    }
}
