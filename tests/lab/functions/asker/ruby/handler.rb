require 'socket'

# Looks up the name in the request, or its own host's: "ADDRESS SECONDS", where the address may be "unknown".
class Handler
  def run(body, headers)
    sent = body.read
    name = sent.empty? ? Socket.gethostname : sent
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    begin
      found = Addrinfo.getaddrinfo(name, 80, :INET).first.ip_address
    rescue SocketError
      found = 'unknown'
    end
    return "#{found} #{Process.clock_gettime(Process::CLOCK_MONOTONIC) - began}", {}, 200
  end
end
