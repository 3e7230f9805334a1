<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>Bottle</title>
<h1>Hello {{ name or "stranger" }}</h1>
<form method="post" action="/login">
  <input name="name"><input name="colour"><button>Log in</button>
</form>
<form id="say"><input name="words"><button>Say</button></form>
<pre data-socket="/ws/uwsgi"></pre>
<pre data-socket="/ws/fairlead"></pre>
<script src="/static/page.js"></script>
