# frozen_string_literal: true

require 'stringio'

module Runtime
  # What a handler sees and what it may return, in the shapes of OpenFaaS's ruby-http (Rack) and ruby templates.
  module Adaptor
    HTML = 'text/html;charset=utf-8'
    TEXT = 'text/plain; charset=utf-8'

    module_function

    # [status, headers, body] of what a new Handler returns.
    def call(handler, request, body)
      method = handler.instance_method(:run)
      if method.arity == 1
        result, headers, status = handler.new.run(body.dup.force_encoding(Encoding::UTF_8))
        type = TEXT
      else
        result, headers, status = handler.new.run(StringIO.new(body), environment(request, body))
        type = HTML
      end
      given = (headers || {}).to_h { |name, value| [name.to_s, value.to_s] }
      given['content-type'] = type unless given.keys.any? { |name| name.casecmp?('content-type') }
      [Integer(status || 200), given, text(result)]
    end

    # The Rack environment of a request: REQUEST_METHOD, PATH_INFO, QUERY_STRING, HTTP_X_CALL_ID, …
    def environment(request, body)
      path, _, query = request.unparsed_uri.partition('?')
      environment = {
        'REQUEST_METHOD' => request.request_method,
        'SCRIPT_NAME' => '',
        'PATH_INFO' => path,
        'QUERY_STRING' => query,
        'REQUEST_URI' => request.unparsed_uri,
        'SERVER_PROTOCOL' => "HTTP/#{request.http_version}",
        'REMOTE_ADDR' => request.peeraddr[3].to_s,
        'CONTENT_LENGTH' => body.bytesize.to_s,
        'rack.input' => StringIO.new(body)
      }
      request.each do |name, value|
        key = name.upcase.tr('-', '_')
        environment[%w[CONTENT_TYPE CONTENT_LENGTH].include?(key) ? key : "HTTP_#{key}"] = value
      end
      environment
    end

    def text(result)
      return result.dup.force_encoding(Encoding::BINARY) if result.is_a?(String)
      return result.read.to_s.b if result.respond_to?(:read)
      return result.to_a.join.b if result.respond_to?(:each)

      result.to_s.b
    end
  end
end
