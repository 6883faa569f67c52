package com.openfaas.entrypoint;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.openfaas.model.IHandler;
import com.openfaas.model.Response;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URL;
import java.util.Map;

/**
 * Serves one request to itself when an image is built, so that the classes of a start are known and can be archived.
 *
 * The function's own handler is loaded and not run: it may need what is not there yet.
 */
public final class Rehearsal {
    private Rehearsal() {
    }

    public static void main(String[] arguments) throws IOException, ReflectiveOperationException {
        Class.forName("com.openfaas.function.Handler", false, Rehearsal.class.getClassLoader()).getDeclaredConstructors();
        Settings settings = new Settings(Map.of("port", "0", "listen_address", "127.0.0.1"));
        IHandler handler = request -> {
            JsonObject body = new Gson().fromJson(request.getBody() + "{\"a\": [1, \"b\"]}", JsonObject.class);
            Response response = new Response();
            response.setBody(body.toString());
            return response;
        };
        Server server = new Server(new Application(settings, handler), settings);
        Thread serving = new Thread(server::serve);
        serving.start();
        URL url = new URL("http://127.0.0.1:" + server.port() + "/");
        HttpURLConnection connection = (HttpURLConnection) url.openConnection(java.net.Proxy.NO_PROXY);
        connection.setRequestProperty("Connection", "close");
        connection.setConnectTimeout(5000);
        connection.setReadTimeout(5000);
        connection.getInputStream().readAllBytes();
        server.drain();
    }
}
