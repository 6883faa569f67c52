# frozen_string_literal: true

require 'json'
require_relative 'adaptor'

module Runtime
  # of-watchdog's own paths, and the handler for every other.
  #
  # One invocation: count it in, call the handler in a thread of its own, write its record, answer. The
  # record is written before the answer, so whoever has an answer finds its record.
  class Application
    METHODS = %w[GET HEAD POST PUT PATCH DELETE OPTIONS].freeze
    TEXT = { 'content-type' => Adaptor::TEXT }.freeze
    INTERNAL = 'X-OpenFaaS-Internal'
    LONGEST_ID = 128 # of what a caller says of itself, in a record

    # While it drains, /_/ready says 503 and connections end with their answer.
    attr_accessor :draining

    def initialize(settings, handler)
      @settings = settings
      @handler = handler
      @lock = Mutex.new
      @inflight = 0
      @warm = false
      @free = Thread::SizedQueue.new(settings.threads)
      settings.threads.times { @free.push(true) }
      @record_tail = "\"function\":#{settings.function.to_json},\"namespace\":#{settings.namespace.to_json}," \
                     "\"instance\":#{settings.instance.to_json}"
    end

    # [status, headers, body] for a request; `body` is a String.
    def answer(request, body)
      path = request.unparsed_uri.partition('?').first
      return own(path) if path.start_with?('/_/')

      cold = enter
      if cold.nil?
        record(request, now_ns, false, 429)
        return too_many
      end
      invoke(request, body, cold)
    end

    private

    # Whether this is the first invocation; nil when it must be refused.
    def enter
      @lock.synchronize do
        cold = !@warm
        @warm = true
        return nil if full?

        @inflight += 1
        cold
      end
    end

    def invoke(request, body, cold)
      @free.pop
      started_ns = now_ns
      result = nil
      running = Thread.new do
        Thread.current.report_on_exception = false
        result = call(request, body)
      ensure
        @lock.synchronize { @inflight -= 1 }
        @free.push(true)
      end
      timeout_s = timeout_s(request)
      running.join(timeout_s.zero? ? nil : timeout_s)
      result ||= [504, { INTERNAL => 'of-watchdog', 'connection' => 'close' }, '']
      record(request, started_ns, cold, result[0])
      result[1]['X-Duration-Seconds'] = format('%.6f', (now_ns - started_ns) / 1e9)
      result
    end

    def call(request, body)
      unless METHODS.include?(request.request_method)
        return [405, { 'Allow' => METHODS.join(', ') }.merge(TEXT), '']
      end

      status, headers, text = Adaptor.call(@handler, request, body)
      raise ArgumentError, "the handler returned status #{status}" unless (100..999).cover?(status)

      [status, headers, text]
    rescue StandardError, ScriptError, SystemExit => error # whatever a tenant's code raises is that tenant's 500
      warn error.full_message(highlight: false)
      [500, TEXT.dup, "Internal Server Error: the handler failed; see its log\n"]
    end

    # exec_timeout, which a request's X-Timeout may lower; 0: none.
    def timeout_s(request)
      asked_s = Settings.duration_s(request['X-Timeout'].to_s)
      return @settings.exec_timeout_s unless asked_s

      @settings.exec_timeout_s.zero? ? asked_s : [@settings.exec_timeout_s, asked_s].min
    end

    # One write of less than PIPE_BUF bytes: lines of different threads do not mix.
    def record(request, started_ns, cold, status)
      $stdout.syswrite(
        "{\"invocation\":{\"call_id\":#{quote(request['X-Call-Id'].to_s[0, LONGEST_ID])},\"caller\":#{quote(request['X-Caller'].to_s[0, LONGEST_ID])}," \
        "#{@record_tail},\"started_ns\":#{started_ns},\"ended_ns\":#{now_ns},\"cold\":#{cold},\"status\":#{status}}}\n"
      )
    end

    # /_/health: the process lives. /_/ready: it takes invocations.
    def own(path)
      return [404, TEXT.dup, ''] unless %w[/_/health /_/ready].include?(path)

      if path == '/_/ready'
        return [503, TEXT.dup, ''] if draining
        return too_many if @lock.synchronize { full? }
      end
      [200, TEXT.dup, 'OK']
    end

    def full?
      @settings.max_inflight.positive? && @inflight >= @settings.max_inflight
    end

    def too_many
      body = "Concurrent request limit exceeded. Max concurrent requests: #{@settings.max_inflight}\n"
      [429, { INTERNAL => 'faas-middleware' }.merge(TEXT), body]
    end

    def quote(value)
      value.to_s.dup.force_encoding(Encoding::UTF_8).scrub.to_json
    end

    def now_ns
      Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    end
  end
end
