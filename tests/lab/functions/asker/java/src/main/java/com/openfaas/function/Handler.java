package com.openfaas.function;

import com.openfaas.model.AbstractHandler;
import com.openfaas.model.IRequest;
import com.openfaas.model.IResponse;
import com.openfaas.model.Response;
import java.net.InetAddress;
import java.net.UnknownHostException;

/** Looks up the name in the request, or its own host's: "ADDRESS SECONDS", where the address may be "unknown". */
public class Handler extends AbstractHandler {

    @Override
    public IResponse Handle(IRequest request) {
        String name = request.getBody();
        long began = System.nanoTime();
        String found;
        try {
            found = (name.isEmpty() ? InetAddress.getLocalHost() : InetAddress.getByName(name)).getHostAddress();
        } catch (UnknownHostException unknown) {
            found = "unknown";
        }
        Response response = new Response();
        response.setBody(found + " " + (System.nanoTime() - began) / 1e9);
        return response;
    }
}
