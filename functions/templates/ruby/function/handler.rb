class Handler
  def run(body, headers)
    response_headers = { 'content-type' => 'text/plain' }

    return body.read, response_headers, 200
  end
end
