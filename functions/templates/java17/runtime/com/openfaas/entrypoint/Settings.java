package com.openfaas.entrypoint;

import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * of-watchdog's environment variables, as far as they mean something here.
 *
 * <pre>
 * port                8080
 * listen_address      0.0.0.0
 * exec_timeout        30s   a longer invocation is answered 504; 0: no limit
 * read_timeout        30s   an idle connection, or one that sends no request, is closed after
 * write_timeout       30s   three times the longer of these two (callers keep connections for a minute)
 * healthcheck_interval      how long running invocations may take to finish after SIGTERM (write_timeout)
 * max_inflight        0     more concurrent invocations are answered 429; 0: no limit
 * threads             32    invocations that run at once, others wait
 * </pre>
 *
 * Durations are seconds ("30") or in Go's form ("1m30s"). FUNCTION_NAME, FUNCTION_NAMESPACE and INSTANCE_ID name the
 * instance in its records.
 */
final class Settings {
    private static final Pattern PART = Pattern.compile("(\\d+(?:\\.\\d*)?|\\.\\d+)(ns|us|µs|ms|s|m|h)");
    private static final Map<String, Double> UNITS_S =
            Map.of("ns", 1e-9, "us", 1e-6, "µs", 1e-6, "ms", 1e-3, "s", 1.0, "m", 60.0, "h", 3600.0);

    final int port;
    final String listenAddress;
    final double execTimeoutS;
    final double idleTimeoutS;
    final double drainS;
    final int maxInflight;
    final int threads;
    final String function;
    final String namespace;
    final String instance;

    /** Throws IllegalArgumentException with a sentence when a value cannot be understood. */
    Settings(Map<String, String> environment) {
        double readS = seconds(environment, "read_timeout", 30);
        double writeS = seconds(environment, "write_timeout", 30);
        port = integer(environment, "port", 8080);
        listenAddress = text(environment, "listen_address", "0.0.0.0");
        execTimeoutS = seconds(environment, "exec_timeout", 30);
        idleTimeoutS = Math.max(3 * readS, 3 * writeS);
        drainS = seconds(environment, "healthcheck_interval", writeS);
        maxInflight = integer(environment, "max_inflight", 0);
        threads = Math.max(integer(environment, "threads", 32), maxInflight);
        function = text(environment, "FUNCTION_NAME", "");
        namespace = text(environment, "FUNCTION_NAMESPACE", "");
        instance = text(environment, "INSTANCE_ID", "");
    }

    /** Seconds of "30" or "1m30s"; NaN for anything else. */
    static double durationS(String text) {
        if (text.matches("\\d+")) {
            return Double.parseDouble(text);
        }
        Matcher parts = PART.matcher(text);
        double total = 0;
        int end = 0;
        while (parts.find() && parts.start() == end) {
            total += Double.parseDouble(parts.group(1)) * UNITS_S.get(parts.group(2));
            end = parts.end();
        }
        return end == text.length() && end > 0 ? total : Double.NaN;
    }

    private static String text(Map<String, String> environment, String name, String otherwise) {
        String value = environment.get(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static double seconds(Map<String, String> environment, String name, double otherwise) {
        String value = text(environment, name, "");
        double found = value.isEmpty() ? otherwise : durationS(value);
        if (Double.isNaN(found)) {
            throw new IllegalArgumentException(
                    name + "=" + value + " is no duration; write seconds (30) or a Go duration (1m30s)");
        }
        return found;
    }

    private static int integer(Map<String, String> environment, String name, int otherwise) {
        String value = text(environment, name, String.valueOf(otherwise));
        if (!value.matches("\\d{1,9}")) {
            throw new IllegalArgumentException(name + "=" + value + " is no number; write a whole number");
        }
        return Integer.parseInt(value);
    }
}
