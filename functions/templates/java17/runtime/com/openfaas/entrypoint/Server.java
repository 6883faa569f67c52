package com.openfaas.entrypoint;

import java.io.BufferedInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * HTTP/1.1 with a thread a connection.
 *
 * The JDK's own com.sun.net.httpserver does not close a connection on which no request comes, sends an answer's head
 * and body as two segments, and ends a connection in use when it stops; of-watchdog does none of that.
 */
final class Server {
    private static final int BACKLOG = 2048;

    private final Application application;
    private final Settings settings;
    private final ServerSocket listener = new ServerSocket();
    private final Set<Connection> connections = ConcurrentHashMap.newKeySet();
    private final CountDownLatch refusing = new CountDownLatch(1);

    Server(Application application, Settings settings) throws IOException {
        this.application = application;
        this.settings = settings;
        listener.setReuseAddress(true);
        listener.bind(new InetSocketAddress(settings.listenAddress, settings.port), BACKLOG);
    }

    int port() {
        return listener.getLocalPort();
    }

    /** Accept connections until `drain`. */
    void serve() {
        while (!application.draining) {
            try {
                Connection connection = new Connection(listener.accept());
                connections.add(connection);
                Thread thread = new Thread(connection, "connection");
                thread.setDaemon(true);
                thread.start();
            } catch (IOException error) {
                if (!application.draining) {
                    System.err.println("a connection could not be accepted: " + error.getMessage());
                }
            }
        }
        refusing.countDown();
    }

    /** Take no new connection, close idle ones, and wait until running invocations have finished or their time is up. */
    void drain() {
        application.draining = true;
        long deadlineNs = System.nanoTime() + Math.round(settings.drainS * 1e9);
        try {
            listener.close();
            refusing.await(1, TimeUnit.SECONDS); // the socket listens until its accept has returned
            while (!connections.isEmpty() && System.nanoTime() < deadlineNs) {
                connections.forEach(Connection::closeIfIdle);
                Thread.sleep(10);
            }
        } catch (IOException | InterruptedException error) {
            System.err.println("draining was cut short: " + error.getMessage());
        }
    }

    /** Tell whoever started the function that it listens, where it asked by READY_FD to be told. */
    static void sayReady(String fd) {
        if (fd == null || !fd.matches("\\d{1,9}")) {
            return;
        }
        try {
            // Java has no public way to a descriptor by its number, and it must be closed, not only written to.
            var byNumber = FileDescriptor.class.getDeclaredConstructor(int.class);
            byNumber.setAccessible(true);
            try (FileOutputStream ready = new FileOutputStream(byNumber.newInstance(Integer.parseInt(fd)))) {
                ready.write('\n');
            }
        } catch (IOException | ReflectiveOperationException error) {
            System.err.println("READY_FD " + fd + " cannot be written to; probes will find the function");
        }
    }

    private final class Connection implements Runnable {
        private final Socket socket;
        private boolean idle = true;
        private boolean ended;

        Connection(Socket socket) {
            this.socket = socket;
        }

        @Override
        public void run() {
            try (socket) {
                socket.setTcpNoDelay(true);
                socket.setSoTimeout((int) Math.max(1, Math.min(Integer.MAX_VALUE, settings.idleTimeoutS * 1000)));
                BufferedInputStream in = new BufferedInputStream(socket.getInputStream(), 16 << 10);
                OutputStream out = socket.getOutputStream();
                while (!ended() && exchange(in, out)) {
                    setIdle(true);
                }
            } catch (IOException gone) { // the client left, was silent for too long, or was cut off while draining
                setIdle(true);
            } finally {
                connections.remove(this);
            }
        }

        /** One request and its answer; whether another may follow. */
        private boolean exchange(BufferedInputStream in, OutputStream out) throws IOException {
            Incoming request;
            try {
                request = Incoming.read(in, out, () -> setIdle(false));
            } catch (Incoming.Malformed malformed) {
                Message refusal = new Message(400, malformed.getMessage() + "\n").with("Content-Type", Message.TEXT);
                send(refusal, out, true, true);
                return false;
            }
            if (request == null) {
                return false;
            }
            boolean[] open = {false};
            application.serve(request, answer -> {
                boolean close = request.close || application.draining || answer.headers.remove("Connection") != null;
                open[0] = send(answer, out, !request.method.equals("HEAD"), close) && !close;
            });
            return open[0];
        }

        /** Whether the answer could be sent; with `close` it is the last one. */
        private synchronized boolean send(Message answer, OutputStream out, boolean withBody, boolean close) {
            try {
                out.write(answer.bytes(withBody, close));
                if (close) {
                    ended = true;
                    socket.close();
                }
                return true;
            } catch (IOException gone) { // the client did not wait for its answer
                return false;
            }
        }

        private synchronized boolean ended() {
            return ended;
        }

        private synchronized void setIdle(boolean idle) {
            this.idle = idle;
        }

        private synchronized void closeIfIdle() {
            try {
                if (idle) {
                    socket.close();
                }
            } catch (IOException error) {
                System.err.println("an idle connection could not be closed: " + error.getMessage());
            }
        }
    }
}
