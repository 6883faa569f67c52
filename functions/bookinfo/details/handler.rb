# frozen_string_literal: true

require 'json'

# The details of a book.
#
#   GET /details/{id}   {"id": 0, "author": …}; 400 when the id is not a number
#   GET /health
class Handler
  JSON_HEADERS = { 'content-type' => 'application/json' }.freeze

  def run(_body, headers)
    return refuse(405, "#{headers['REQUEST_METHOD']} is not possible here") unless headers['REQUEST_METHOD'] == 'GET'

    case headers['PATH_INFO']
    when '/health' then answer({ status: 'details is healthy' })
    when %r{\A/details/(\d+)\z} then answer(details(Regexp.last_match(1).to_i))
    when %r{\A/details/[^/]*\z} then refuse(400, 'the product id must be a number')
    else refuse(404, 'there is no such page')
    end
  end

  private

  def details(id)
    {
      'id' => id,
      'author' => 'William Shakespeare',
      'year' => 1595,
      'type' => 'paperback',
      'pages' => 200,
      'publisher' => 'Quarto Pub',
      'language' => 'English',
      'ISBN-10' => '0000000000',
      'ISBN-13' => '000-0000000000'
    }
  end

  def answer(value, status = 200)
    [JSON.generate(value), JSON_HEADERS, status]
  end

  def refuse(status, reason)
    answer({ error: reason }, status)
  end
end
