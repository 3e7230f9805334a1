# Every message comes back to its sender; a page for whoever is no WebSocket.
# uWSGI's documented echo in Ruby: runs there and here, by threads or by fibers.

run lambda { |env|
  if env["HTTP_UPGRADE"].to_s.downcase == "websocket"
    UWSGI.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env["HTTP_ORIGIN"])
    loop do
      UWSGI.websocket_send(UWSGI.websocket_recv)
    end
  else
    [200, { "content-type" => "text/plain" }, ["This is an echo: open a WebSocket.\n"]]
  end
}
