require 'uri'

class Handler
  def run(body, headers)
    query = URI.decode_www_form(headers['QUERY_STRING']).to_h
    sleep query.fetch('s', '0').to_f
    raise 'as asked' if query.key?('fail')
    return body.read if query.key?('echo')
    return headers["HTTP_#{query['header'].upcase.tr('-', '_')}"] if query.key?('header')
    return 'made', { 'X-Made' => 'yes', 'Content-Type' => 'text/plain' }, 201 if query.key?('made')

    query.fetch('say', 'slept')
  end
end
