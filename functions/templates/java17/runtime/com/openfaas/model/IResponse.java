package com.openfaas.model;

import java.util.Map;

/** What a function answers. */
public interface IResponse {
    String getBody();

    void setBody(String body);

    String getHeader(String name);

    void setHeader(String name, String value);

    Map<String, String> getHeaders();

    void setContentType(String contentType);

    String getContentType();

    void setStatusCode(int code);

    int getStatusCode();
}
