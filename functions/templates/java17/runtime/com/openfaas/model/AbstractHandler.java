package com.openfaas.model;

/** A function, for those who extend rather than implement. */
public abstract class AbstractHandler implements IHandler {
    @Override
    public abstract IResponse Handle(IRequest request);
}
