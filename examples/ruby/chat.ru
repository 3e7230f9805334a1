# A chat: what one sends, all get. Each client has a queue, and a pipe that tells its thread of it.
# Start it with --threads N --rbthreads. All clients are in one process.

CLIENTS = {}
GUARD = Mutex.new

run lambda { |env|
  UWSGI.websocket_handshake(env["HTTP_SEC_WEBSOCKET_KEY"], env["HTTP_ORIGIN"])
  fd = UWSGI.connection_fd
  queue = Queue.new
  wake, waker = IO.pipe
  GUARD.synchronize { CLIENTS[queue] = waker }
  socket = IO.for_fd(fd, autoclose: false)
  begin
    loop do
      ready, = IO.select([socket, wake], nil, nil, 30)
      # Also after a time-out: the call notices a client that is gone.
      message = UWSGI.websocket_recv_nb
      unless message.empty?
        GUARD.synchronize do
          CLIENTS.each do |other, bell|
            other << message
            bell.write_nonblock(".", exception: false)
          end
        end
      end
      next unless ready&.include?(wake)

      wake.read_nonblock(4096, exception: false)
      UWSGI.websocket_send(queue.pop) until queue.empty?
    end
  ensure
    GUARD.synchronize { CLIENTS.delete(queue) }
    wake.close
    waker.close
  end
}
