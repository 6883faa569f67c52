package com.openfaas.model;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/** One request, from its parts. */
public class Request implements IRequest {
    private final String method;
    private final String body;
    private final Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
    private final String queryRaw;
    private final String pathRaw;

    public Request(String body, Map<String, String> headers) {
        this(body, headers, "", "/");
    }

    public Request(String body, Map<String, String> headers, String queryRaw, String pathRaw) {
        this("POST", body, headers, queryRaw, pathRaw);
    }

    public Request(String method, String body, Map<String, String> headers, String queryRaw, String pathRaw) {
        this.method = method;
        this.body = body;
        this.headers.putAll(headers);
        this.queryRaw = queryRaw == null ? "" : queryRaw;
        this.pathRaw = pathRaw == null ? "" : pathRaw;
    }

    @Override
    public String getMethod() {
        return method;
    }

    @Override
    public String getBody() {
        return body;
    }

    @Override
    public Map<String, String> getHeaders() {
        return headers;
    }

    @Override
    public String getHeader(String name) {
        return headers.get(name);
    }

    @Override
    public String getQueryRaw() {
        return queryRaw;
    }

    @Override
    public Map<String, String> getQuery() {
        Map<String, String> query = new LinkedHashMap<>();
        for (String pair : queryRaw.split("&")) {
            int at = pair.indexOf('=');
            if (!pair.isEmpty()) {
                query.putIfAbsent(decoded(at < 0 ? pair : pair.substring(0, at)),
                        at < 0 ? "" : decoded(pair.substring(at + 1)));
            }
        }
        return query;
    }

    @Override
    public String getPathRaw() {
        return pathRaw;
    }

    @Override
    public Map<String, String> getPath() {
        Map<String, String> path = new LinkedHashMap<>();
        String[] segments = (pathRaw.startsWith("/") ? pathRaw.substring(1) : pathRaw).split("/");
        for (int i = 0; i < segments.length; i += 2) {
            if (!segments[i].isEmpty()) {
                path.put(segments[i], i + 1 < segments.length ? segments[i + 1] : "");
            }
        }
        return path;
    }

    private static String decoded(String text) {
        try {
            return URLDecoder.decode(text, StandardCharsets.UTF_8);
        } catch (IllegalArgumentException notEncoded) {
            return text;
        }
    }
}
