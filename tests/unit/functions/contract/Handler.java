package com.openfaas.function;

import com.openfaas.model.IHandler;
import com.openfaas.model.IRequest;
import com.openfaas.model.IResponse;
import com.openfaas.model.Response;
import java.util.Map;

public class Handler implements IHandler {

    public IResponse Handle(IRequest request) {
        Map<String, String> query = request.getQuery();
        Response response = new Response();
        try {
            Thread.sleep((long) (1000 * Double.parseDouble(query.getOrDefault("s", "0"))));
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
        if (query.containsKey("fail")) {
            throw new IllegalArgumentException("as asked");
        }
        if (query.containsKey("echo")) {
            response.setBody(request.getBody());
        } else if (query.containsKey("header")) {
            response.setBody(request.getHeader(query.get("header")));
        } else if (query.containsKey("made")) {
            response.setStatusCode(201);
            response.setHeader("X-Made", "yes");
            response.setContentType("text/plain");
            response.setBody("made");
        } else {
            response.setBody(query.getOrDefault("say", "slept"));
        }
        return response;
    }
}
