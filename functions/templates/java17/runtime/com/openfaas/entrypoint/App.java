package com.openfaas.entrypoint;

import com.openfaas.model.IHandler;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import sun.misc.Signal;

/**
 * Serves com.openfaas.function.Handler as OpenFaaS's java templates do, with of-watchdog's manners.
 *
 * A handler written for those templates runs unmodified: IResponse Handle(IRequest). of-watchdog's part happens in the
 * same process: exec_timeout (504), max_inflight (429), /_/health, /_/ready, X-Duration-Seconds, a drained exit on
 * SIGTERM. Every invocation leaves one JSON line on standard output.
 *
 * Settings come from the environment; see Settings.
 */
public final class App {
    private static final String HANDLER = "com.openfaas.function.Handler";

    private App() {
    }

    public static void main(String[] arguments) {
        Settings settings;
        try {
            settings = new Settings(System.getenv());
        } catch (IllegalArgumentException wrong) {
            System.err.println(wrong.getMessage());
            System.exit(1);
            return;
        }
        IHandler handler = load();
        try {
            Server server = new Server(new Application(settings, handler), settings);
            for (String name : new String[] {"TERM", "INT"}) {
                Signal.handle(new Signal(name), signal -> {
                    server.drain();
                    Runtime.getRuntime().halt(0);
                });
            }
            Server.sayReady(System.getenv("READY_FD"));
            server.serve();
            Thread.currentThread().join(); // the thread that drains ends the process
        } catch (IOException error) {
            System.err.println("port " + settings.port + " cannot be listened on: " + error.getMessage());
            System.exit(1);
        } catch (InterruptedException error) {
            System.exit(1);
        }
    }

    private static IHandler load() {
        Throwable reason;
        try {
            return (IHandler) Class.forName(HANDLER).getDeclaredConstructor().newInstance();
        } catch (InvocationTargetException error) {
            reason = error.getCause();
        } catch (ReflectiveOperationException | ClassCastException | LinkageError error) {
            reason = error;
        }
        reason.printStackTrace();
        System.err.println(HANDLER + " cannot be made: " + reason);
        System.exit(1);
        return null;
    }
}
