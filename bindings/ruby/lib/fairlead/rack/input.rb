# frozen_string_literal: true

require "stringio"
require "tempfile"

module Fairlead
  class Rack
    # rack.input: the request's body, read from the client as the application asks for it.
    #
    # What was read is kept, in memory up to a limit and then in a file, so that it can be rewound as Rack 2 demands.
    class Input
      # Bytes that are kept in memory.
      MEMORY_BYTES = 524_288

      def initialize(request)
        @request = request
        @kept = StringIO.new("".b)
        @size = 0
        @position = 0
        @ended = false
      end

      # IO#read: all of the rest without a length; with one nil at the end.
      def read(length = nil, buffer = nil)
        raise ArgumentError, "negative length #{length} given" if length&.negative?

        loop { break if @ended || (length && @size - @position >= length) || !fetch }
        @kept.seek(@position)
        data = @kept.read(length)
        data = "".b if data.nil? && length.nil?
        @position += data.bytesize if data
        return data unless buffer

        buffer.replace(data || "")
        data && buffer
      end

      # IO#gets by "\n"; nil at the end.
      def gets
        line = +"".b
        loop do
          @kept.seek(@position)
          piece = @kept.gets
          if piece
            line << piece
            @position += piece.bytesize
          end
          break if line.end_with?("\n") || @ended || !fetch
        end
        line.empty? ? nil : line
      end

      def each
        return to_enum unless block_given?

        while (line = gets)
          yield line
        end
        self
      end

      def rewind
        @position = 0
      end

      def close
        @kept.close! if @kept.is_a?(Tempfile)
        @kept = StringIO.new("".b)
        @size = @position = 0
        @ended = true
        nil
      end

      def external_encoding = Encoding::BINARY
      def binmode = self

      private

      # One more piece of the client's. False at the end.
      def fetch
        piece = @request.read_body
        if piece.nil?
          @ended = true
          return false
        end

        spill if @kept.is_a?(StringIO) && @size + piece.bytesize > MEMORY_BYTES
        @kept.seek(@size)
        @kept.write(piece)
        @size += piece.bytesize
        true
      end

      def spill
        file = Tempfile.new("fairlead-body", binmode: true).tap(&:unlink)
        file.write(@kept.string)
        @kept = file
      end
    end
  end
end
