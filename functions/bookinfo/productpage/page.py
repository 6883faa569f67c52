"""The HTML of the product's page and of the page in front of it. Everything a browser needs stands in the page."""

from html import escape

STYLE = """
  :root { --ink: #22303c; --soft: #5f7182; --line: #d8e0e8; --paper: #ffffff; --shade: #f3f6f9; --link: #1f5f8b; }
  * { box-sizing: border-box; }
  html { font-size: 16px; }
  body { margin: 0; color: var(--ink); background: var(--paper); font-family: Georgia, "Times New Roman", serif;
         line-height: 1.5; }
  a { color: var(--link); text-decoration: none; }
  a:hover, a:focus { text-decoration: underline; }
  header { display: flex; align-items: center; justify-content: space-between; gap: 1rem; padding: 0.75rem 1.5rem;
           color: #fff; background: var(--ink); }
  header a { color: #fff; font-weight: bold; letter-spacing: 0.02em; }
  header form { display: flex; align-items: center; gap: 0.5rem; margin: 0; }
  header label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip: rect(0 0 0 0); }
  header input { width: 11rem; padding: 0.35rem 0.6rem; border: 0; border-radius: 3px; font: inherit;
                 font-size: 0.9rem; }
  header button { padding: 0.35rem 0.9rem; border: 1px solid #fff; border-radius: 3px; color: #fff;
                  background: transparent; font: inherit; font-size: 0.9rem; cursor: pointer; }
  header button:hover, header button:focus { color: var(--ink); background: #fff; }
  main { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem 3rem; }
  h1 { margin: 2.5rem 0 0.5rem; font-size: 2.4rem; line-height: 1.15; text-align: center; }
  h2 { margin: 0 0 1rem; padding-bottom: 0.4rem; border-bottom: 2px solid var(--line); font-size: 1.4rem; }
  .summary { max-width: 46rem; margin: 0 auto 2.5rem; color: var(--soft); text-align: center; }
  .columns { display: grid; grid-template-columns: 1fr 1fr; gap: 2.5rem; }
  @media (max-width: 48rem) { .columns { grid-template-columns: 1fr; } }
  dl { display: grid; grid-template-columns: 9rem 1fr; margin: 0; border: 1px solid var(--line); border-radius: 4px;
       overflow: hidden; }
  dt, dd { margin: 0; padding: 0.55rem 0.9rem; border-bottom: 1px solid var(--line); }
  dt { color: var(--soft); background: var(--shade); font-weight: bold; }
  dt:last-of-type, dd:last-of-type { border-bottom: 0; }
  blockquote { margin: 0 0 1.5rem; padding: 1rem 1.25rem; border-left: 4px solid var(--line);
               background: var(--shade); }
  blockquote p { margin: 0 0 0.6rem; font-size: 1.05rem; font-style: italic; }
  blockquote footer { display: flex; align-items: center; gap: 0.75rem; color: var(--soft); font-size: 0.95rem; }
  blockquote footer::before { content: "—"; }
  .stars { display: inline-flex; gap: 2px; }
  .stars svg { width: 20px; height: 20px; }
  .failed { padding: 0.9rem 1.25rem; border: 1px solid #d9a8a0; border-radius: 4px; color: #7c2d21;
            background: #fbf0ee; }
  .failed strong { display: block; margin-bottom: 0.2rem; font-size: 1.05rem; }
  .served { margin-top: 1rem; color: var(--soft); font-size: 0.85rem; }
  .served code { color: var(--ink); font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; }
  .products { margin: 2rem 0; padding: 0; list-style: none; }
  .products li { margin-bottom: 1rem; padding: 1rem 1.25rem; border: 1px solid var(--line); border-radius: 4px; }
"""

STAR = """
            <svg viewBox="0 0 24 24" role="presentation" focusable="false" aria-hidden="true" fill="{fill}"
                 stroke="{color}" stroke-width="1.4" stroke-linejoin="round">
              <path d="M12 1.9 14.95 8.1 15.2 8.55 15.7 8.66 22.2 9.55 17.45 14.2 17.1 14.55 17.16 15.05 18.35 21.75
                       12.5 18.55 12 18.3 11.5 18.55 5.65 21.75 6.84 15.05 6.9 14.55 6.55 14.2 1.8 9.55 8.3 8.66 8.8
                       8.55 9.05 8.1 12 1.9Z"></path>
            </svg>"""

MOST_STARS = 5


def product(product, details, reviews, user):
    """The page of a product; `details` and `reviews` are (status, JSON)."""
    body = f"""
    <h1>{escape(product["title"])}</h1>
    <p class="summary">{product["descriptionHtml"]}</p>
    <div class="columns">
      <section id="details">
        <h2>Book details</h2>{_details(*details)}
      </section>
      <section id="reviews">
        <h2>Book reviews</h2>{_reviews(*reviews)}
      </section>
    </div>"""
    return _document(product["title"], body, user)


def index(products):
    """The page in front: which products there are."""
    rows = "".join(
        f"""
      <li><a href="productpage"><strong>{escape(one["title"])}</strong></a><br>{one["descriptionHtml"]}</li>"""
        for one in products
    )
    return _document("Books", f"""
    <h1>Books</h1>
    <ul class="products">{rows}
    </ul>""", "")  # fmt: skip


def _document(title, body, user):
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{escape(title)}</title>
  <style>{STYLE}  </style>
</head>
<body>
  <header>
    <a href="productpage">Bookinfo</a>{_sign_in(user)}
  </header>
  <main>{body}
  </main>
</body>
</html>
"""


def _sign_in(user):
    if user:
        return f"""
    <span>{escape(user)} (<a href="logout">sign out</a>)</span>"""
    return """
    <form method="post" action="login">
      <label for="username">User name</label>
      <input type="text" id="username" name="username" placeholder="User name" autocomplete="username" required>
      <button type="submit">Sign in</button>
    </form>"""


def _details(status, details):
    if status != 200:
        return _failed("The details cannot be shown", details)
    names = {
        "author": "Author", "year": "Year", "type": "Type", "pages": "Pages", "publisher": "Publisher",
        "language": "Language", "ISBN-10": "ISBN-10", "ISBN-13": "ISBN-13",
    }  # fmt: skip
    rows = "".join(
        f"""
          <dt>{name}</dt>
          <dd>{escape(str(details[key]))}</dd>"""
        for key, name in names.items()
        if key in details
    )
    return f"""
        <dl>{rows}
        </dl>"""


def _reviews(status, reviews):
    if status != 200:
        return _failed("The reviews cannot be shown", reviews)
    quotes = "".join(
        f"""
        <blockquote>
          <p>{escape(one["text"])}</p>
          <footer><cite>{escape(one["reviewer"])}</cite>{_stars(one.get("rating"))}</footer>
        </blockquote>"""
        for one in reviews["reviews"]
    )
    return f"""{quotes}
        <p class="served">Reviews served by <code>{escape(str(reviews.get("podname")))}</code>
          on cluster <code>{escape(str(reviews.get("clustername")))}</code></p>"""


def _stars(rating):
    if rating is None:
        return ""
    if "error" in rating:
        return f"""
            <span class="failed">{escape(rating["error"])}</span>"""
    color = escape(rating["color"])
    stars = "".join(
        STAR.format(color=color, fill=color if number < rating["stars"] else "none") for number in range(MOST_STARS)
    )
    return f"""
            <span class="stars" role="img" aria-label="{rating["stars"]} of {MOST_STARS} stars">{stars}
            </span>"""


def _failed(what, answer):
    return f"""
        <p class="failed"><strong>{what}</strong>{escape(str(answer.get("error", "")))}</p>"""
