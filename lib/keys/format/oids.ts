/**
 * Object identifiers that more than one file of key formats knows, as the hex of their content in DER. RFC 3279, RFC 5480, RFC 8410,
 * RFC 8018. No I/O.
 *
 * @module
 */

/** rsaEncryption. */
export const OID_RSA = "2a864886f70d010101";
/** id-ecPublicKey. */
export const OID_EC = "2a8648ce3d0201";
/** id-Ed25519. */
export const OID_ED25519 = "2b6570";
/** PBES2. */
export const OID_PBES2 = "2a864886f70d01050d";
/** PBKDF2. */
export const OID_PBKDF2 = "2a864886f70d01050c";
/** scrypt (RFC 7914 section 7). */
export const OID_SCRYPT = "2b06010401da47040b";
/** hmacWithSHA256. */
export const OID_HMAC_SHA256 = "2a864886f70d0209";
/** AES-256 in CBC mode. */
export const OID_AES256_CBC = "60864801650304012a";
