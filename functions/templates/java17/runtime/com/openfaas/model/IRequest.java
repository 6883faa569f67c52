package com.openfaas.model;

import java.util.Map;

/** One request. Header names are in any case; a name that comes twice has its first value. */
public interface IRequest {
    String getBody();

    Map<String, String> getHeaders();

    String getHeader(String name);

    /** The query as it was sent, without "?". */
    String getQueryRaw();

    Map<String, String> getQuery();

    /** The path as it was sent. */
    String getPathRaw();

    /** The path's segments by pairs: /book/1/page/2 is {book: 1, page: 2}. */
    Map<String, String> getPath();

    /** GET, POST, …; not in OpenFaaS's interface. */
    String getMethod();
}
