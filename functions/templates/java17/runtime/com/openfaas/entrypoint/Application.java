package com.openfaas.entrypoint;

import com.openfaas.model.IHandler;
import com.openfaas.model.IResponse;
import com.openfaas.model.Request;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * of-watchdog's own paths, and the handler for every other.
 *
 * One invocation: count it in, call the handler, write its record, answer. The record is written before the answer, so
 * whoever has an answer finds its record.
 */
final class Application {
    /** Of what a caller says of itself, in a record. */
    private static final int LONGEST_ID = 128;
    private static final List<String> METHODS = List.of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS");

    /** While it drains, /_/ready says 503 and connections end with their answer. */
    volatile boolean draining;

    private final Settings settings;
    private final IHandler handler;
    private final Semaphore free;
    private final String recordTail;
    private final FileOutputStream output = new FileOutputStream(FileDescriptor.out);
    private final ScheduledThreadPoolExecutor overdue = new ScheduledThreadPoolExecutor(1, task -> {
        Thread thread = new Thread(task, "overdue");
        thread.setDaemon(true);
        return thread;
    });
    private int inflight;
    private boolean warm;

    Application(Settings settings, IHandler handler) {
        this.settings = settings;
        this.handler = handler;
        free = new Semaphore(settings.threads);
        overdue.setRemoveOnCancelPolicy(true);
        recordTail = "\"function\":" + quoted(settings.function) + ",\"namespace\":" + quoted(settings.namespace)
                + ",\"instance\":" + quoted(settings.instance);
    }

    /** Answer a request by calling `send` once; for an overdue invocation that is from another thread, with 504. */
    void serve(Incoming request, Consumer<Message> send) {
        if (request.path.startsWith("/_/")) {
            send.accept(own(request.path));
            return;
        }
        boolean cold;
        boolean refused;
        synchronized (this) {
            cold = !warm;
            warm = true;
            refused = full();
            inflight += refused ? 0 : 1;
        }
        if (refused) {
            record(request, System.nanoTime(), false, 429);
            send.accept(tooMany());
            return;
        }
        free.acquireUninterruptibly();
        try {
            invoke(request, cold, send);
        } finally {
            free.release();
            synchronized (this) {
                inflight--;
            }
        }
    }

    private void invoke(Incoming request, boolean cold, Consumer<Message> send) {
        long startedNs = System.nanoTime();
        AtomicBoolean answered = new AtomicBoolean();
        Consumer<Message> once = answer -> {
            if (answered.compareAndSet(false, true)) {
                record(request, startedNs, cold, answer.status);
                double seconds = (System.nanoTime() - startedNs) / 1e9;
                send.accept(answer.with("X-Duration-Seconds", String.format(Locale.ROOT, "%.6f", seconds)));
            }
        };
        double timeoutS = timeoutS(request);
        if (timeoutS == 0) {
            once.accept(call(request));
            return;
        }
        Runnable expire = () -> once.accept(
                new Message(504, "").with("X-OpenFaaS-Internal", "of-watchdog").with("Connection", "close"));
        var timer = overdue.schedule(expire, Math.round(timeoutS * 1e9), TimeUnit.NANOSECONDS);
        Message answer = call(request);
        timer.cancel(false);
        once.accept(answer);
    }

    private Message call(Incoming request) {
        if (!METHODS.contains(request.method)) {
            return new Message(405, "").with("Allow", String.join(", ", METHODS)).with("Content-Type", Message.TEXT);
        }
        try {
            String body = new String(request.body, StandardCharsets.UTF_8);
            return message(handler.Handle(new Request(request.method, body, request.headers, request.query, request.path)));
        } catch (Exception | LinkageError | StackOverflowError | AssertionError error) { // whatever a tenant's code throws
            error.printStackTrace();
            return new Message(500, "Internal Server Error: the handler failed; see its log\n")
                    .with("Content-Type", Message.TEXT);
        }
    }

    private static Message message(IResponse response) {
        int status = response.getStatusCode();
        if (status < 200 || status > 999) {
            throw new IllegalArgumentException("the handler answered status " + status);
        }
        Message message = new Message(status, response.getBody() == null ? "" : response.getBody());
        String type = response.getContentType();
        if (type != null && !type.isEmpty()) {
            message.with("Content-Type", type);
        }
        response.getHeaders().forEach((name, value) -> {
            boolean known = name.equalsIgnoreCase("Content-Type") && message.headers.containsKey("Content-Type");
            if (!known && !name.equalsIgnoreCase("Content-Length") && !name.equalsIgnoreCase("Connection")) {
                message.with(name, String.valueOf(value));
            }
        });
        if (message.headers.keySet().stream().noneMatch(name -> name.equalsIgnoreCase("Content-Type"))) {
            message.with("Content-Type", Message.TEXT);
        }
        return message;
    }

    /** exec_timeout, which a request's X-Timeout may lower; 0: none. */
    private double timeoutS(Incoming request) {
        double askedS = Settings.durationS(request.header("X-Timeout"));
        if (Double.isNaN(askedS)) {
            return settings.execTimeoutS;
        }
        return settings.execTimeoutS == 0 ? askedS : Math.min(settings.execTimeoutS, askedS);
    }

    /** One write of less than PIPE_BUF bytes: lines of different threads do not mix. */
    private void record(Incoming request, long startedNs, boolean cold, int status) {
        String line = "{\"invocation\":{\"call_id\":" + quoted(shortened(request.header("X-Call-Id"))) + ",\"caller\":"
                + quoted(shortened(request.header("X-Caller"))) + "," + recordTail + ",\"started_ns\":" + startedNs
                + ",\"ended_ns\":" + System.nanoTime() + ",\"cold\":" + cold + ",\"status\":" + status + "}}\n";
        try {
            output.write(line.getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            System.err.println("an invocation's record cannot be written: " + error.getMessage());
        }
    }

    /** /_/health: the process lives. /_/ready: it takes invocations. */
    private Message own(String path) {
        int status = 200;
        if (!path.equals("/_/health") && !path.equals("/_/ready")) {
            status = 404;
        } else if (path.equals("/_/ready")) {
            synchronized (this) {
                if (!draining && full()) {
                    return tooMany();
                }
            }
            status = draining ? 503 : 200;
        }
        return new Message(status, status == 200 ? "OK" : "").with("Content-Type", Message.TEXT);
    }

    private boolean full() {
        return settings.maxInflight > 0 && inflight >= settings.maxInflight;
    }

    private Message tooMany() {
        String body = "Concurrent request limit exceeded. Max concurrent requests: " + settings.maxInflight + "\n";
        return new Message(429, body).with("Content-Type", Message.TEXT).with("X-OpenFaaS-Internal", "faas-middleware");
    }

    private static String shortened(String text) {
        return text.length() <= LONGEST_ID ? text : text.substring(0, LONGEST_ID);
    }

    private static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append('"').toString();
    }
}
