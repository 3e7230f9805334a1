# frozen_string_literal: true

module Fairlead
  # One WebSocket. Every message costs two calls of the library, one to receive and one to send.
  class Session
    # struct fl_message: an int, padding, a pointer, a size.
    MESSAGE_BYTES = 24

    attr_reader :handle, :message

    def initialize(handle, waiter)
      @handle = handle
      @waiter = waiter
      @over = false
      @message = FFI::MemoryPointer.new(MESSAGE_BYTES)
    end

    # The next message as a binary String; nil when the WebSocket is over. Waits.
    def receive
      return taken if (status = @waiter.receive(self)) == Library::OK

      over(status)
    end

    # Whether a call has found that the WebSocket is over.
    def over? = @over

    # The same without waiting: :pending when there is nothing yet.
    def receive_nowait
      case status = Library.fl_session_receive_nowait(@handle, @message)
      when Library::OK then taken
      when Library::PENDING then :pending
      else over(status)
      end
    end

    # Sends text, which must be UTF-8 (RFC 6455 §5.6): true, or false when it was not sent: no UTF-8, the WebSocket is
    # over, or its client took nothing for the send time-out. Waits for room.
    def send_text(text)
      loop do
        status = Library.fl_session_send_text(@handle, text, text.bytesize)
        return true if status == Library::OK
        return over(status) || false unless status == Library::FULL
        return false unless @waiter.wait_room(self)
      end
    end

    def free
      Library.fl_session_free(@handle)
    end

    private

    def over(status)
      @over = true if status == Library::CLOSED
      nil
    end

    def taken
      @message.get_pointer(8).read_bytes(@message.get_uint64(16))
    end
  end
end
