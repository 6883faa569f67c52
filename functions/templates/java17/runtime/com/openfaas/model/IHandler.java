package com.openfaas.model;

/** A function. One object serves all invocations, several at a time. */
public interface IHandler {
    IResponse Handle(IRequest request);
}
