# frozen_string_literal: true

module Runtime
  # of-watchdog's environment variables, as far as they mean something here.
  #
  #   port                8080
  #   listen_address      0.0.0.0
  #   exec_timeout        30s   a longer invocation is answered 504; 0: no limit
  #   read_timeout        30s   an idle connection, or one that sends no request, is closed after
  #   write_timeout       30s   three times the longer of these two (callers keep connections for a minute)
  #   healthcheck_interval      how long running invocations may take to finish after SIGTERM (write_timeout)
  #   max_inflight        0     more concurrent invocations are answered 429; 0: no limit
  #   threads             32    invocations that run at once, others wait
  #
  # Durations are seconds ("30") or in Go's form ("1m30s"). FUNCTION_NAME, FUNCTION_NAMESPACE and
  # INSTANCE_ID name the instance in its records. All times in seconds.
  class Settings
    UNITS_S = { 'ns' => 1e-9, 'us' => 1e-6, 'µs' => 1e-6, 'ms' => 1e-3, 's' => 1.0, 'm' => 60.0, 'h' => 3600.0 }.freeze
    PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/.freeze

    attr_reader :port, :listen_address, :exec_timeout_s, :idle_timeout_s, :drain_s, :max_inflight, :threads,
                :function, :namespace, :instance

    # Ends the process with a sentence when a value cannot be understood.
    def initialize(environment)
      @environment = environment
      read_s = seconds('read_timeout', 30.0)
      write_s = seconds('write_timeout', 30.0)
      @port = integer('port', 8080)
      @listen_address = text('listen_address', '0.0.0.0')
      @exec_timeout_s = seconds('exec_timeout', 30.0)
      @idle_timeout_s = [3 * read_s, 3 * write_s].max
      @drain_s = seconds('healthcheck_interval', write_s)
      @max_inflight = integer('max_inflight', 0)
      @threads = [integer('threads', 32), @max_inflight].max
      @function = text('FUNCTION_NAME', '')
      @namespace = text('FUNCTION_NAMESPACE', '')
      @instance = text('INSTANCE_ID', '')
    end

    # Seconds of "30" or "1m30s"; nil for anything else.
    def self.duration_s(text)
      return text.to_f if text.match?(/\A\d+\z/)
      return nil unless text.match?(/\A(?:#{PART.source})+\z/)

      text.scan(PART).sum { |number, unit| number.to_f * UNITS_S[unit] }
    end

    private

    def text(name, otherwise)
      value = @environment[name].to_s
      value.empty? ? otherwise : value
    end

    def seconds(name, otherwise)
      value = text(name, nil)
      return otherwise unless value

      self.class.duration_s(value) ||
        abort("#{name}=#{value} is no duration; write seconds (30) or a Go duration (1m30s)")
    end

    def integer(name, otherwise)
      value = text(name, otherwise.to_s)
      abort "#{name}=#{value} is no number; write a whole number" unless value.match?(/\A\d+\z/)
      value.to_i
    end
  end
end
