package com.openfaas.function;

import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.openfaas.model.IHandler;
import com.openfaas.model.IRequest;
import com.openfaas.model.IResponse;
import com.openfaas.model.Response;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.net.Proxy;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What reviewers wrote about a book, with the stars that they gave it.
 *
 * <pre>
 * GET /reviews/{id}   {"id": "0", "podname": …, "clustername": …, "reviews": [{"reviewer", "text", "rating"}, …]}
 * GET /health
 * </pre>
 *
 * Its environment: SERVICE_VERSION v1 (no stars), v2 (black stars, asked for during 10 s) or v3 (red stars, 2.5 s);
 * RATINGS_URL, where the stars come from; HOSTNAME and CLUSTER_NAME, which the answer tells. Each call is made on a
 * connection of its own. When ratings fails, every review says so in place of its stars.
 */
public class Handler implements IHandler {
    private static final List<String> PASSED_ON = List.of(
            "x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
            "x-ot-span-context", "traceparent", "tracestate", "x-datadog-trace-id", "x-datadog-parent-id",
            "x-datadog-sampling-priority", "x-cloud-trace-context", "grpc-trace-bin", "sw8", "end-user", "user-agent",
            "cookie", "authorization", "jwt", "x-call-id");
    private static final Pattern PATH = Pattern.compile("/reviews/([^/]*)");
    private static final String FIRST =
            "A play that still makes a whole theatre laugh. Four hundred years have not dulled it!";
    private static final String SECOND =
            "Amusing from beginning to end. Whoever looks for depth finds more of it in his later and much darker works.";

    private final String version = setting("SERVICE_VERSION", "v2");
    private final boolean withStars = !version.equals("v1");
    private final String color = version.equals("v3") ? "red" : "black";
    private final int timeoutMs = color.equals("black") ? 10_000 : 2_500;
    private final String ratingsUrl = setting("RATINGS_URL", "http://ratings:8080");

    @Override
    public IResponse Handle(IRequest request) {
        if (!request.getMethod().equals("GET")) {
            return answer(405, error(request.getMethod() + " is not possible here"));
        }
        if (request.getPathRaw().equals("/health")) {
            return answer(200, "{\"status\": \"reviews is healthy\"}");
        }
        Matcher path = PATH.matcher(request.getPathRaw());
        if (!path.matches()) {
            return answer(404, error("there is no such page"));
        }
        if (!path.group(1).matches("\\d+")) {
            return answer(400, error("the product id must be a number"));
        }
        return answer(200, reviews(path.group(1), withStars ? ratings(path.group(1), request) : null));
    }

    /** The answer's JSON; without `ratings` the reviews have no stars. */
    private String reviews(String id, JsonObject ratings) {
        return "{\"id\": \"" + id + "\", \"podname\": " + quoted(setting("HOSTNAME", "null"))
                + ", \"clustername\": " + quoted(setting("CLUSTER_NAME", "null")) + ", \"reviews\": ["
                + review("Reviewer1", FIRST, ratings) + ", " + review("Reviewer2", SECOND, ratings) + "]}";
    }

    private String review(String reviewer, String text, JsonObject ratings) {
        String start = "{\"reviewer\": " + quoted(reviewer) + ", \"text\": " + quoted(text);
        if (ratings == null) {
            return start + "}";
        }
        if (!ratings.has(reviewer)) {
            return start + ", \"rating\": {\"error\": \"the ratings are not available at the moment\"}}";
        }
        return start + ", \"rating\": {\"stars\": " + ratings.get(reviewer).getAsInt() + ", \"color\": " + quoted(color) + "}}";
    }

    /** Reviewer -> stars; empty when ratings does not answer well and in time. */
    private JsonObject ratings(String id, IRequest request) {
        try {
            URL url = new URL(ratingsUrl.replaceAll("/+$", "") + "/ratings/" + id);
            HttpURLConnection connection = (HttpURLConnection) url.openConnection(Proxy.NO_PROXY);
            connection.setConnectTimeout(timeoutMs);
            connection.setReadTimeout(timeoutMs);
            connection.setRequestProperty("Connection", "close");
            connection.setRequestProperty("Accept", "application/json");
            connection.setRequestProperty("X-Caller", setting("FUNCTION_NAME", "reviews"));
            for (String name : PASSED_ON) {
                if (request.getHeader(name) != null) {
                    connection.setRequestProperty(name, request.getHeader(name));
                }
            }
            if (connection.getResponseCode() != 200) {
                throw new IOException(url + " answered " + connection.getResponseCode());
            }
            try (var reader = new InputStreamReader(connection.getInputStream(), StandardCharsets.UTF_8)) {
                return JsonParser.parseReader(reader).getAsJsonObject().getAsJsonObject("ratings");
            }
        } catch (IOException | JsonParseException | IllegalStateException failure) {
            System.err.println("ratings: " + failure);
            return new JsonObject();
        }
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static String error(String reason) {
        return "{\"error\": " + quoted(reason) + "}";
    }

    private static String quoted(String text) {
        return new JsonPrimitive(text).toString();
    }

    private static IResponse answer(int status, String json) {
        Response response = new Response();
        response.setStatusCode(status);
        response.setContentType("application/json");
        response.setBody(json);
        return response;
    }
}
