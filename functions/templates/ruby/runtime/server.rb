# frozen_string_literal: true

# WEBrick, with a few of its parts replaced.
#
# - Head and body of an answer leave in one segment (WEBrick sends two).
# - A descriptor named by READY_FD hears as soon as the socket listens.
# - SIGTERM drains: no new connection, running invocations finish, then the process exits with 0.
module Runtime
  MAX_CONNECTIONS = 16_384

  # A request that may have no body although its method allows one.
  class Request < WEBrick::HTTPRequest
    private

    def read_body(socket, block)
      super
    rescue WEBrick::HTTPStatus::LengthRequired
      @body
    end
  end

  # An answer that is sent by one write.
  class Response < WEBrick::HTTPResponse
    def send_response(socket)
      self.keep_alive = false if @config[:Application].draining
      setup_header
      @header.delete('server')
      message = StringIO.new(String.new)
      send_header(message)
      send_body(message)
      socket.write(message.string)
    rescue IOError, SystemCallError # its client has gone
      self.keep_alive = false
    end
  end

  # Connections, each with a thread of its own; a second one runs its invocation.
  class Server < WEBrick::HTTPServer
    def initialize(application, settings)
      @application = application
      super(
        Application: application,
        BindAddress: settings.listen_address,
        Port: settings.port,
        MaxClients: MAX_CONNECTIONS,
        RequestTimeout: settings.idle_timeout_s,
        AcceptCallback: ->(socket) { socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) },
        Logger: WEBrick::Log.new($stderr, WEBrick::Log::FATAL),
        AccessLog: []
      )
    end

    def create_request(config)
      Request.new(config)
    end

    def create_response(config)
      Response.new(config)
    end

    def service(request, response)
      request.continue
      status, headers, body = @application.answer(request, request.body || '')
      response.status = status
      headers.each { |name, value| response[name] = value }
      response['content-length'] = body.bytesize.to_s
      response.body = body
    end
  end

  module_function

  # Serve until SIGTERM or SIGINT, then drain; ends the process.
  def serve(application, settings)
    server = Server.new(application, settings)
    stop_r, stop_w = IO.pipe
    %w[TERM INT].each { |name| trap(name) { stop_w.write_nonblock('.', exception: false) } }
    serving = Thread.new { server.start }
    say_ready
    stop_r.read(1)
    application.draining = true
    Thread.pass until server.status == :Running
    server.shutdown
    serving.join(settings.drain_s)
    exit!(0)
  end

  # Tell whoever started the function that it listens, where it asked by READY_FD to be told.
  def say_ready
    fd = ENV.delete('READY_FD').to_s
    return unless fd.match?(/\A\d+\z/)

    IO.for_fd(fd.to_i, 'w').tap { |io| io.syswrite("\n") }.close
  rescue SystemCallError
    warn "READY_FD #{fd} cannot be written to; probes will find the function"
  end
end
